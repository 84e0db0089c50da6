"""The next roles document: signed where the root lies, carried by a person, taken up by an aggregator at rest."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from enrolling_fleet import DAY, NOW, Card, Office

from accord import cli
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.files import FileError, make_folder
from accord.wire.envelope import Envelope
from accord.wire.messages import Revocations, Roles, opened
from aggregator.fleet_folder import FleetFolder
from aggregator.fleet_making import create_in_parts
from aggregator.root_folder import RootFolder
from aggregator.succession import Succession

PARTS = ("aggregator", "enrolment")


class Parts:
    """A fleet in parts, as on four machines, and what an aggregator says of its documents."""

    def __init__(self, folder: Path) -> None:
        self.path, self.out = folder / "fleet", folder / "next"
        create_in_parts(self.path, "t", NOW + 90 * DAY, SeededEntropy(3), now=NOW)
        self.now, self.told = NOW, list[str]()
        self.kept = b""
        self.signed = 0

    def sign(self, *rotate: str, days: int = 180) -> Roles:
        self.signed += 1
        root = RootFolder(self.path / "root")
        return root.sign_next(NOW + days * DAY, rotate, SeededEntropy(self.signed), self.out).roles

    def carry(self, *parts: str) -> None:
        for part in parts:
            shutil.copytree(self.out / part, self.path / part, dirs_exist_ok=True)

    def start(self) -> Succession:
        folder = FleetFolder(path=self.path / "aggregator")
        return Succession(folder, self.kept, lambda: self.now, lambda reason, _detail: self.told.append(reason))


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_the_next_document_waits_until_it_is_its_turn(parts: Parts) -> None:
    running = parts.start()
    assert not running.look()
    parts.sign()
    parts.carry("aggregator")
    assert running.look()
    assert running.office.roles_version == 1
    assert running.turn().roles_version == 2
    assert running.roles.expires == NOW + 180 * DAY
    assert not running.look()
    assert parts.told == []


def test_an_aggregator_that_was_restarted_in_a_round_ends_it_under_the_document_before(parts: Parts) -> None:
    parts.kept = parts.start().office.roles
    parts.sign("aggregator")
    parts.carry("aggregator")
    again = parts.start()
    assert again.office.roles_version == 1
    assert again.office.key.public == again.roles.aggregator
    assert again.next is not None
    office = again.turn()
    assert office.key.public == again.roles.aggregator, "the key changes with the document"


def test_a_new_key_that_was_not_carried_along_is_asked_for_and_taken_when_it_comes(parts: Parts) -> None:
    running = parts.start()
    parts.sign("aggregator")
    shutil.copy(parts.out / "aggregator" / "roles", parts.path / "aggregator" / "roles")
    assert not running.look()
    assert parts.told == ["MissingKey"]
    parts.carry("aggregator")
    assert running.look()
    assert running.turn().roles_version == 2


def test_documents_that_do_not_hold_are_told_by_name(parts: Parts, tmp_path: Path) -> None:
    running = parts.start()
    target = parts.path / "aggregator" / "roles"
    other = create_in_parts(tmp_path / "other", "t", NOW + DAY, SeededEntropy(8), now=NOW).path
    first = target.read_bytes()
    parts.sign()
    parts.carry("aggregator")
    assert running.look()
    running.turn()
    for data, name in (
        ((other / "root" / "roles").read_bytes(), "NotTheRoot"),
        (first, "OldRoles"),
        (b"noise", "BadMessage"),
    ):
        parts.told.clear()
        target.write_bytes(data)
        assert not running.look()
        assert parts.told in ([name], ["NotTheRoot"]), "bytes that are no letter are not the root's either"
    parts.kept = running.office.roles
    target.write_bytes(first)
    with pytest.raises(FileError, match="older than version 2"):
        parts.start()


def test_an_end_that_is_near_is_spoken_of_once_a_day(parts: Parts) -> None:
    running = parts.start()
    assert running.ends() is None
    parts.now = NOW + 80 * DAY
    assert running.ends() == 10
    assert running.ends() is None
    parts.now += DAY
    assert running.ends() == 9
    parts.now = NOW + 100 * DAY
    assert running.ends() == 0


def test_another_enrolment_key_signs_every_certificate_and_the_list_again(parts: Parts) -> None:
    office = Office(parts.path / "enrolment")
    card, running = Card(1), parts.start()
    invite = office.invite()
    letter = card.ask(invite)
    office.decide(letter)
    office.invite("pi-8")
    office.revoke("pi-8")
    parts.sign("enrolment")
    parts.carry("aggregator", "enrolment")
    assert not running.look()
    assert parts.told == ["BadSignature"], "the aggregator waits for a list that the new key has signed"
    registrar = office.open()
    (renewed,) = registrar.renew(NOW, NOW + 90 * DAY)
    registrar.close()
    assert card.take(invite, renewed.answer.data).certificate
    listed = (parts.path / "enrolment" / "revocations").read_bytes()
    assert opened(Envelope.decode(listed), Revocations).version == 2
    (parts.path / "aggregator" / "revocations").write_bytes(listed)
    assert running.look()
    assert running.turn().enrolment == running.roles.enrolment


def test_versions_only_go_up_and_never_end_earlier(parts: Parts) -> None:
    assert parts.sign().version == 2
    assert parts.sign("publisher").version == 3
    assert (parts.out / "publisher" / "key-3").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="would end before"):
        parts.sign(days=10)
    with pytest.raises(UsageError, match="give --out"):
        RootFolder(parts.path / "root").sign_next(NOW + 999 * DAY, (), SeededEntropy(1), None)
    other = create_in_parts(parts.path.parent / "other", "t", NOW + DAY, SeededEntropy(8), now=NOW).path
    with pytest.raises(UsageError, match="another fleet's"):
        RootFolder(parts.path / "root", other / "root" / "roles")


def accord(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    capsys.readouterr()
    assert cli.main(["fleet", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_as_a_person_does_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, out = tmp_path / "fleet", tmp_path / "next"
    accord(capsys, "init", fleet, "--days", 9)
    where = ("--enrolment", fleet / "enrolment")
    assert accord(capsys, "list", *where)["roles"]["days_left"] in (8, 9)
    assert cli.main(["fleet", "list", *map(str, where)]) == 0
    assert "`accord fleet roles` where the root lies" in capsys.readouterr().out
    found = accord(capsys, "roles", "--root", fleet / "root", "--rotate", "aggregator", "--out", out)
    assert found["version"] == 2
    assert sorted(Path(name).relative_to(out).as_posix() for name in found["files"]) == [
        "aggregator/key-2",
        "aggregator/roles",
        "enrolment/roles",
    ]
    for part in PARTS:
        shutil.copytree(out / part, fleet / part, dirs_exist_ok=True)
    assert accord(capsys, "list", *where)["roles"]["version"] == 2
    office = FleetFolder(path=fleet / "aggregator").office()
    assert (office.roles_version, office.key.seed) == (2, (out / "aggregator" / "key-2").read_bytes())
    assert cli.main(["fleet", "roles", "--root", str(fleet / "root"), "--out", str(out), "--days", "0"]) == 1
    assert "--days is from 1" in capsys.readouterr().err


def test_in_a_fleet_for_development_there_is_nothing_to_carry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = make_folder(tmp_path) / "fleet"
    accord(capsys, "init", "--dev", fleet, "--devices", 3, "--days", 9)
    assert accord(capsys, "roles", "--root", fleet)["version"] == 2
    rotated = accord(capsys, "roles", "--root", fleet, "--rotate", "aggregator", "--rotate", "publisher")
    assert [Path(name).name for name in rotated["files"]] == ["aggregator-3", "publisher-3"]
    office = FleetFolder(path=fleet).office()
    assert office.roles_version == 3
    assert opened(Envelope.decode(office.roles), Roles).expires > time.time() + 80 * DAY
    assert [row["status"] for row in accord(capsys, "list", "--enrolment", fleet)["devices"]] == ["enrolled"] * 3
