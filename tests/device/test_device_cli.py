"""`accord device doctor|status|erase|run --once`: each cause is found with its fix, and nothing of ours is left."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_fleet import NAMES, DeviceFleet

from accord import cli
from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.files import make_folder, write_atomic
from accord.runtimes.opening import PACKAGES
from accord.update import feedback
from edge_sdk import EdgeClient, load
from edge_sdk.clock import ClockState
from edge_sdk.doctor import _architecture, _fits, _metered, _python, _room, _voltage, examine
from edge_sdk.erasure import erase
from edge_sdk.example_store import ExampleStore
from edge_sdk.residual import RESIDUAL, VECTORS, Kept
from edge_sdk.timekeeper import Timekeeper
from quantize import Choices, make_bundle

NAME = NAMES[0]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceFleet]:
    found = DeviceFleet(tmp_path_factory.mktemp("standing"))
    found.start()
    yield found
    found.close()


@pytest.fixture
def config(fleet: DeviceFleet, tmp_path: Path) -> Path:
    """A device whose keystore holds its credentials, as after an enrolment."""
    keys = make_folder(tmp_path / "state" / "keys")
    home = fleet.rig.fleet.path
    for name in ("identity", "password", "certificate"):
        shutil.copy(fleet.rig.fleet.device(NAME) / name, keys / name)
    shutil.copy(home / "roles", keys / "roles")
    shutil.copy(home / "root.pub", keys / "root")
    shutil.copy(home / "tls" / "ca.pem", keys / "ca.pem")
    for name in ("tls.key", "tls.pem"):
        shutil.copy(fleet.rig.fleet.device(NAME) / name, keys / name)
    for path in keys.iterdir():
        path.chmod(0o600)
    shutil.copy(fleet.rig.folder / "bundle", tmp_path / "bundle")
    path = tmp_path / "device.toml"
    path.write_text(
        f'[device]\nid = "{NAME}"\ntenant = "demo"\njob = "job"\nstate = "state"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {fleet.rig.broker.port}\n'
        f'mutual_port = {fleet.rig.broker.mutual_port}\n[work]\nbundle = "bundle"\n'
        "[limits]\nsmallest_cohort = 3\n"
    )
    return path


def call(capsys: pytest.CaptureFixture[str], action: str, *words: object) -> tuple[int, Any]:
    capsys.readouterr()
    code = cli.main(["device", action, *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_healthy_device_needs_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = call(capsys, "doctor", "--config", config)
    assert (code, found["healthy"]) == (0, True), [line for line in found["findings"] if line["fix"]]
    names = {line["name"] for line in found["findings"]}
    assert {
        "architecture",
        "python",
        "runtime onnxruntime",
        "runtime ai-edge-litert",
        "runtime tflite-runtime",
        "state folder",
        "disk space",
        "clock",
        "identity key",
    } <= names
    assert {"password", "roles", "certificate", "bundle", "broker", "limits", "constraints"} <= names
    limits = next(line["found"] for line in found["findings"] if line["name"] == "limits")
    assert limits.startswith("it takes part in cohorts of 3 or more, profile standard or strict, complete graphs up to")
    assert sorted(p.name for p in (config.parent / "state").iterdir()) == ["keys"], "it leaves nothing behind"
    assert cli.main(["device", "doctor", "--config", str(config)]) == 0
    assert "FIX" not in capsys.readouterr().out


def test_the_doctor_tells_which_runtime_the_bundle_would_use(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = Choices(tflite=True)
    bundle = make_bundle("cnn:small", (1, 8, 8), 10, "softmax", 8, SeededEntropy(3), None, choices)
    (config.parent / "bundle").write_bytes(bundle)
    told = []
    for package in ("onnxruntime", "a_package_that_nobody_has"):
        monkeypatch.setitem(PACKAGES, "onnx", package)
        _, found = call(capsys, "doctor", "--config", config)
        told += [line for line in found["findings"] if line["name"] == "bundle"]
    assert [line["found"] for line in told] == [
        f"cnn:small computes as its publisher says, in {name}" for name in ("onnx", "litert")
    ]
    assert not any(line["fix"] for line in told)


def test_a_runtime_that_does_not_fit_the_numpy_beside_it_is_found() -> None:
    assert "environment of its own" in _fits("tflite-runtime", "2.4.6")
    assert _fits("tflite-runtime", "1.26.4") == _fits("ai-edge-litert", "2.4.6") == ""


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def edit(config: Path, old: str, new: str) -> None:
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


def remember_tomorrow(config: Path) -> None:
    later = time.time() + 20 * 86_400
    Timekeeper(config.parent / "state" / "clock", wall=lambda: later).moment()


BROKEN: list[tuple[str, str, Callable[[Path], object]]] = [
    ("state folder", "chmod 700", lambda c: (c.parent / "state").chmod(0o755)),
    ("state folder", "nothing can be made", lambda c: edit(c, 'state = "state"', 'state = "bundle/state"')),
    ("clock", "NTP", remember_tomorrow),
    ("identity key", "chmod 600", lambda c: (c.parent / "state/keys/identity").chmod(0o644)),
    ("identity key", "enrol", lambda c: (c.parent / "state/keys/identity").unlink()),
    ("password", "chmod 600", lambda c: (c.parent / "state/keys/password").chmod(0o640)),
    ("roles and certificate", "enrol", lambda c: (c.parent / "state/keys/root").write_text("ab" * 32)),
    ("roles and certificate", "enrol", lambda c: (c.parent / "state/keys/certificate").write_bytes(b"x")),
    ("certificate", "another key", lambda c: (c.parent / "state/keys/identity").write_bytes(bytes(32))),
    ("certificate", "set [device] id", lambda c: edit(c, f'id = "{NAME}"', 'id = "dev-9"')),
    ("bundle", "No such file", lambda c: (c.parent / "bundle").unlink()),
    ("broker", "look at [broker]", lambda c: edit(c, "port = ", f"port = {closed_port()} # ")),
]


@pytest.mark.parametrize(("name", "fix", "breaking"), BROKEN, ids=[f"{n}: {f}" for n, f, _ in BROKEN])
def test_each_cause_is_found_with_its_fix(
    name: str, fix: str, breaking: Callable[[Path], object], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breaking(config)
    code, found = call(capsys, "doctor", "--config", config)
    assert code == 1
    assert found["healthy"] is False
    fixes = {line["name"]: line["fix"] for line in found["findings"] if line["fix"]}
    assert fix in fixes[name], fixes
    assert cli.main(["device", "doctor", "--config", str(config)]) == 1
    assert "FIX" in capsys.readouterr().out


def test_what_this_machine_is_not_is_found_too(tmp_path: Path) -> None:
    assert "64-bit system" in _architecture("aarch64", 32).fix
    assert "64-bit system" in _architecture("armv7l", 32).fix
    assert _architecture("aarch64", 64).fix == ""
    assert "3.10" in _python((3, 9, 2)).fix
    assert _room(1e9, 1e8).fix == ""
    assert "free 900 MB, or lower [examples] max_bytes" in _room(1e8, 1e9).fix
    assert "corrupts cards" in _voltage(weak=True).fix
    firmware = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    firmware.parent.mkdir(parents=True)
    firmware.write_text("1\n")
    assert {f.name: f.fix for f in examine(None, tmp_path)}["voltage"] != ""


def test_how_it_is_known_that_a_network_is_metered_and_what_to_do_where_it_is_not(tmp_path: Path) -> None:
    assert _metered("unmetered", tmp_path).found == "no way to a network"
    tree = {
        "proc/net/route": "Iface\tDestination\tGateway\tFlags\nwlan0\t00000000\t0101A8C0\t0003\n",
        "sys/class/net/wlan0/ifindex": "3",
        "run/NetworkManager/devices/3": "[device]\nconnection-uuid=u\n",
    }
    for name, content in tree.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert _metered("unmetered", tmp_path).found == "wlan0 not metered: nobody said anything, and it is no mobile link"
    profiles = tmp_path / "etc/NetworkManager/system-connections"
    profiles.parent.mkdir(parents=True)
    profiles.write_text("")  # no folder, as for root's alone: root itself may read any
    asked = _metered("unmetered", tmp_path)
    assert asked.found == "wlan0 unknown: what its owner told NetworkManager is for root to read"
    assert "90-accord-metered" in asked.fix
    assert _metered("connected", tmp_path).fix == "", "nobody asks for it"
    told = tmp_path / "run/accord/metered/wlan0"
    told.parent.mkdir(parents=True)
    told.write_text("yes (guessed)\n")
    found = _metered("unmetered", tmp_path)
    assert (found.found, found.fix) == ("wlan0 metered: NetworkManager says so", "")


def test_status_tells_where_a_device_stands(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = call(capsys, "status", "--config", config)
    assert code == 0
    assert (found["device"], found["enrolled"], found["resting_for"]) == (NAME, True, [])
    assert found["rounds"] == {"last_round": 0, "last_attempt": 0, "participations": 0, "under_way": None}
    assert found["examples"] == {"count": 0, "bytes": 0, "damage": []}
    assert found["clock"] == ClockState.GOOD.value
    state = config.parent / "state"
    store = ExampleStore(state / "examples", Timekeeper(state / "clock").moment)
    store.add(np.zeros((3, 6), np.float32), [0, 1, 2])
    segment = next((state / "examples").iterdir())
    segment.write_bytes(segment.read_bytes()[:-1])
    (state / "ledger").write_bytes(b"x")
    edit(config, "[limits]", "[constraints]\nmin_free_memory = 999_999\n[limits]")
    _, found = call(capsys, "status", "--config", config)
    assert found["resting_for"] == ["min_free_memory"]
    assert "enrol it anew" in found["rounds"]["damaged"]
    assert found["examples"]["damage"][0]["reason"] == "torn"
    assert cli.main(["device", "status", "--config", str(config)]) == 0
    shutil.rmtree(state)
    _, found = call(capsys, "status", "--config", config)
    assert found["rounds"] is found["examples"] is None
    assert found["enrolled"] is False


def test_erase_asks_first_and_then_leaves_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = config.parent / "state"
    with EdgeClient(load(config)) as edge:
        edge.examples.add(np.zeros((3, 6), np.float32), [0, 1, 2])
    for name in ("ledger", "joined", "masked", "residual", ".left.1.tmp"):
        (state / name).write_bytes(b"x")
    edit(config, "[work]", '[work]\ndata = "rows.npz"')
    before = sorted(str(p.relative_to(state)) for p in state.rglob("*") if p.is_file())
    code, found = call(capsys, "erase", "--config", config)
    assert code == 1
    assert found["erased"] is False
    assert sorted(found["files"]) == before
    assert {"keys/identity", "joined", "birth", "clock"} <= set(before)
    assert cli.main(["device", "erase", "--config", str(config)]) == 1
    assert "--yes" in capsys.readouterr().out
    assert sorted(str(p.relative_to(state)) for p in state.rglob("*") if p.is_file()) == before
    code, found = call(capsys, "erase", "--config", config, "--yes")
    assert (code, found["erased"]) == (0, True)
    assert found["files"][0] == "keys/identity"
    assert found["left_outside"] == [str(config.parent / "rows.npz")]
    assert [p for p in state.rglob("*") if p.is_file()] == []
    assert call(capsys, "erase", "--config", config, "--yes")[0] == 0, "there is nothing left to erase"


def test_examples_that_are_erased_take_what_an_update_left_out_with_them(config: Path) -> None:
    found = load(config)
    bundle = read_bundle(found.bundle.read_bytes())
    held = feedback.encode(np.ones(bundle.manifest.layout.size, np.float32))
    kept = Kept(job=found.job, bundle=bundle.digest, line=0, held=1, flights=())
    write_atomic(found.state / VECTORS[0], held)
    write_atomic(found.state / RESIDUAL, kept.encode())
    with EdgeClient(found) as edge:
        assert (found.state / VECTORS[0]).read_bytes() == held
        edge.examples.erase()
    assert Kept.decode((found.state / RESIDUAL).read_bytes()).held == 0
    assert not (found.state / VECTORS[0]).exists()


def test_a_folder_that_is_no_state_folder_is_not_erased(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = config.parent / "state" / "photos" / "one"
    precious.parent.mkdir()
    precious.write_text("x")
    code = cli.main(["device", "erase", "--config", str(config), "--yes"])
    assert code == 1
    assert "is it the right state folder" in capsys.readouterr().err
    assert precious.exists()
    assert (config.parent / "state" / "keys" / "identity").exists()


def test_erasing_nothing_is_no_error(tmp_path: Path) -> None:
    assert erase(tmp_path / "missing") == ()
