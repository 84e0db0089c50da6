"""`accord model` beside a store, as a person, a script and an auditor use it."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from registry_under_test import TASK, History
from sqlalchemy import text

from accord import cli
from accord.entropy import SystemEntropy
from accord.runtimes import open_runtime
from accord.runtimes.onnx import load_onnxruntime
from accord.signing import SigningKey
from aggregator import journal
from aggregator.blobs import Blobs
from aggregator.enrolment import Fleet
from aggregator.fleet_making import NewFleet, create
from aggregator.journal import Entry
from aggregator.lineage import lineage_of, tree
from aggregator.lineage_drawing import drawing
from aggregator.store import Store, database_of
from aggregator.tables import jobs

FAR = 4_000_000_000  # seconds; the command signs at today's wall time


class Desktop:
    """A state folder with four versions, the fleet's folder, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state, self.fleet, self._capsys = folder / "state", folder / "fleet", capsys
        made = create(self.fleet, NewFleet(tenant="t", devices=("dev-1",), now=0, expires=FAR), SystemEntropy())
        keys = {
            n: SigningKey((self.fleet / "keys" / n).read_bytes())
            for n in ("root", "enrolment", "aggregator", "publisher")
        }
        assert made.office().roles == Fleet(tenant="t", expires=FAR, **keys).roles()
        self.state.mkdir(mode=0o700)
        self.store = Store(database_of(self.state))
        self.history = History(Blobs(self.state / "blobs"), Fleet(tenant="t", expires=FAR, **keys))
        with self.store.begin() as connection:
            jobs.add(connection, "j", {}, 1.0)
            jobs.set_status(connection, "j", "stopped")
            self.made = self.history.rounds(connection, 3)

    def run(self, *words: str, code: int = 0) -> str:
        assert cli.main(["model", *words, "--state", str(self.state)]) == code
        said = self._capsys.readouterr()
        return said.out + said.err

    def json(self, *words: str, code: int = 0) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run(*words, "--json", code=code))
        return found

    @property
    def publisher(self) -> str:
        return str(self.fleet / "keys" / "publisher")

    @property
    def root(self) -> str:
        return str(self.fleet / "root.pub")


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desktop]:
    found = Desktop(tmp_path, capsys)
    yield found
    found.store.close()


def test_a_version_is_promoted_served_and_rolled_back(desk: Desktop) -> None:
    assert "candidate" in desk.run("list")
    assert [v["version"] for v in desk.json("list")["versions"]] == [0, 1, 2, 3]
    assert desk.json("promote", "3", "--publisher", desk.publisher, "--root", desk.root)["stage"] == "production"
    assert "is in staging" in desk.run("promote", "2", "--publisher", desk.publisher, "--stage", "staging")
    back = desk.json("rollback", "1", "--fleet", str(desk.fleet))
    assert (back["version"], back["origin"], back["restored"]) == (4, "rollback", desk.made[1].digest.hex())
    desk.run("promote", "4", "--publisher", desk.publisher)
    assert [v["stage"] for v in desk.json("list")["versions"]] == [
        "candidate", "candidate", "staging", "archived", "production"
    ]  # fmt: skip
    assert desk.json("verify", "--root", desk.root) == {"root_checked": True, "jobs": ["j"], "faults": []}


def test_show_tells_what_made_it_and_what_changed(desk: Desktop) -> None:
    found = desk.json("show", "3", "--against", "1")
    assert found["round"] == 3
    assert found["cohorts"] == [
        {"name": "r3-a1-c1", "root": desk.made[3].version.cohorts[0].root.hex(), "survivors": "1f"}
    ]
    assert found["figures"]["accuracy"] == 0.8
    assert found["against"]["changes"]["loss"] == [0.5, 0.25, -0.25]
    said = desk.run("show", "3", "--against", "1")
    assert "accuracy 0.6 -> 0.8 (+0.2)" in said
    assert desk.made[3].digest.hex() in said


def test_export_runs_in_onnxruntime_on_raw_rows(desk: Desktop, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    assert desk.json("export", "3", "--out", str(out))["bytes"] == out.stat().st_size
    x = np.random.default_rng(0).normal(2, 2, (4, 5)).astype(np.float32)
    session = load_onnxruntime().InferenceSession(out, providers=["CPUExecutionProvider"])
    history = desk.history
    wanted = open_runtime(history.bundle).predict(history.params(3), history.scaling.inputs(x))
    np.testing.assert_allclose(session.run(None, {"input": x})[0], wanted, rtol=1e-4, atol=1e-5)
    assert history.version(0, None).data.task == TASK


def test_a_tampered_version_is_told_not_exported_and_not_signed(desk: Desktop, tmp_path: Path) -> None:
    old = desk.made[1].version.params.hex()
    with desk.store.begin() as connection:
        connection.execute(text("UPDATE versions SET params = :old WHERE version = 3"), {"old": old})
    found = desk.json("verify", "--root", desk.root, code=1)
    assert [(fault["version"], fault["rule"]) for fault in found["faults"]] == [(3, "RowDiffers")]
    assert "version 3 of job j: RowDiffers" in desk.run("verify", code=1)
    out = tmp_path / "model.onnx"
    assert "RowDiffers" in desk.run("export", "3", "--out", str(out), code=1)
    assert "RowDiffers" in desk.run("promote", "3", "--publisher", desk.publisher, code=1)
    assert not out.exists()
    desk.run("export", "2", "--out", str(out))


def test_verify_says_when_nothing_vouches_for_the_roles(desk: Desktop) -> None:
    assert "pass --root" in desk.run("verify")
    assert desk.json("verify")["root_checked"] is False


def test_another_key_than_the_publishers_promotes_nothing(desk: Desktop) -> None:
    key = str(desk.fleet / "keys" / "aggregator")
    assert "is not the key of the publisher" in desk.run("promote", "1", "--publisher", key, code=1)
    Path(desk.publisher).chmod(0o644)
    assert "chmod 600" in desk.run("promote", "1", "--publisher", desk.publisher, code=1)


def test_mistakes_are_told_with_what_to_do(desk: Desktop, tmp_path: Path) -> None:
    assert "accord model list" in desk.run("show", "9", code=1)
    assert "accord model list" in desk.run("show", "1", "--job", "other", code=1)
    assert "use the fleet's root.pub" in desk.run("verify", "--root", desk.publisher, code=1)
    assert cli.main(["model", "list", "--state", str(tmp_path)]) == 1
    with desk.store.begin() as connection:
        jobs.add(connection, "k", {}, 1.0)
        desk.history.rounds(connection, 1, "k")
    assert "say --job: there are versions of j, k" in desk.run("show", "1", code=1)
    assert desk.json("show", "1", "--job", "k")["job"] == "k"


@pytest.mark.parametrize("status", ["waiting", "running"])
def test_a_job_that_makes_versions_is_not_rolled_back(status: str, desk: Desktop) -> None:
    with desk.store.begin() as connection:
        jobs.set_status(connection, "j", status)
    assert "stop the job first, `accord job stop j" in desk.run("rollback", "1", "--fleet", str(desk.fleet), code=1)
    with desk.store.begin() as connection:
        jobs.set_status(connection, "j", "stopped")
        journal.append(connection, "j", Entry(now=1.0, clock=1, kind="presence", device="d", data=b"\x01"))
        journal.append(connection, "j", Entry(now=2.0, clock=2, kind="start"))
    assert "its round is not over" in desk.run("rollback", "1", "--fleet", str(desk.fleet), code=1)
    assert len(desk.json("list")["versions"]) == 4  # type: ignore[arg-type]
    with desk.store.begin() as connection:
        journal.clear(connection, "j")
        journal.append(connection, "j", Entry(now=3.0, clock=3, kind="presence", device="d", data=b"\x01"))
    assert desk.json("rollback", "1", "--fleet", str(desk.fleet))["version"] == 4, "who comes and goes is no round"


def test_lineage_as_a_tree_and_as_a_picture(desk: Desktop, tmp_path: Path) -> None:
    desk.run("rollback", "1", "--fleet", str(desk.fleet))
    with desk.store.begin() as connection:
        jobs.add(connection, "k", {}, 1.0)
        first = desk.history.register(connection, 0, desk.made[2], "k")
        desk.history.register(connection, 1, first, "k")
    svg = tmp_path / "lineage.svg"
    said = desk.run("lineage", "2", "--job", "j", "--svg", str(svg)).splitlines()
    assert [line[: line.index("  ", 3)] for line in said] == [
        "o j v0", "o j v1", "* j v2", "├─o k v0", "│ o k v1", "└─o j v3", "  o j v4"
    ]  # fmt: skip
    found = desk.json("lineage", "2", "--job", "j")
    assert [entry["version"] for entry in found["ancestors"]] == [0, 1]
    assert {(entry["job"], entry["version"]) for entry in found["descendants"]} == {
        ("j", 3),
        ("j", 4),
        ("k", 0),
        ("k", 1),
    }
    assert found["rounds"] == [{"job": "j", "round": 1}, {"job": "j", "round": 2}]
    picture = ET.fromstring(svg.read_text())
    words = "".join(picture.itertext())
    for name in ("j v0", "j v4", "k v1", "rollback to"):
        assert name in words
    assert len([e for e in picture.iter() if e.get("class") == "line"]) == 6
    assert len([e for e in picture.iter() if e.get("class") == "back"]) == 1


def test_a_branch_goes_deeper_only_where_there_is_one(desk: Desktop) -> None:
    lines = tree(lineage_of(desk.made[1], desk.made))
    assert [line[:8] for line in lines] == ["o j v0  ", "* j v1  ", "o j v2  ", "o j v3  "]


def test_a_circle_of_parents_ends(desk: Desktop) -> None:
    """A tampered registry may claim anything."""
    one, two = desk.made[1], desk.made[2]
    looped = dataclasses.replace(one, version=dataclasses.replace(one.version, parent=two.digest))
    lineage = lineage_of(two, [looped, two])
    assert lineage.every == (looped, two)
    assert len(tree(lineage)) == 2
    assert drawing(lineage).count("<circle") == 3


def test_the_command_works_beside_a_server_that_writes(desk: Desktop) -> None:
    words = [
        sys.executable,
        "-m",
        "accord",
        "model",
        "rollback",
        "1",
        "--state",
        str(desk.state),
        "--fleet",
        str(desk.fleet),
    ]
    with desk.store.begin() as connection:  # the command waits until this transaction ends
        worker = subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE)
        made = desk.history.register(connection, 4, desk.made[3])
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    found = json.loads(said)
    assert (found["version"], found["parent"]) == (5, made.digest.hex())


@pytest.mark.parametrize("action", ["list", "show", "lineage", "verify", "export", "promote", "rollback"])
def test_every_action_teaches_with_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["model", action, "--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"example: accord model {action}" in said
    assert "--json" in said
