"""`accord fleet` as a person uses it: also without a network between enrolment and the aggregator."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from enrolling_fleet import Card

from accord import cli
from accord.files import make_folder
from accord.wire.enrolment import Invite
from accord.wire.envelope import Envelope
from accord.wire.messages import Enrolled, Revocations, opened
from aggregator.fleet_folder import FleetFolder
from aggregator.store import Store, database_of
from aggregator.tables import requests
from aggregator.tables.requests import ENROL


class Desk:
    """A fleet in parts, an aggregator's store with nobody running on it, and the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.state = make_folder(folder / "state")
        Store(database_of(self.state)).close()
        self.call("init", folder / "fleet")
        self.office = ("--enrolment", folder / "fleet" / "enrolment")

    def call(self, *words: object, code: int = 0) -> Any:
        self._capsys.readouterr()
        assert cli.main(["fleet", *map(str, words), "--json"]) == code, self._capsys.readouterr().out
        return json.loads(self._capsys.readouterr().out)

    def text(self, *words: object, code: int = 0) -> str:
        self._capsys.readouterr()
        assert cli.main(["fleet", *map(str, words)]) == code
        told = self._capsys.readouterr()
        return told.out + told.err

    def invite(self, name: str, *words: object) -> Invite:
        file = self.folder / f"{name}.invite"
        file.unlink(missing_ok=True)
        self.call("invite", name, *self.office, "--broker", "broker.example:1883", "--out", file, *words)
        assert file.stat().st_mode & 0o777 == 0o600
        return Invite.decode(file.read_bytes())

    def asks(self, letter: bytes, name: str) -> None:
        store = Store(database_of(self.state))
        with store.begin() as connection:
            requests.ask_instead(connection, name, ENROL, letter, 1.0)
        store.close()

    def answer(self, name: str) -> bytes:
        store = Store(database_of(self.state))
        with store.read() as connection:
            (row,) = requests.of_device(connection, name, ENROL)
        store.close()
        assert row.answer is not None
        return row.answer


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_approving_in_the_aggregators_store(desk: Desk) -> None:
    invite, card = desk.invite("pi-7"), Card(1)
    desk.asks(card.ask(invite), "pi-7")
    desk.asks(Card(2).ask(Invite.decode(desk.invite("pi-8").encode())), "pi-8")
    assert "pi-7" in desk.text("list", *desk.office, "--state", desk.state)
    found = desk.call("approve", "pi-7", *desk.office, "--state", desk.state)
    assert found == {"approved": [{"device": "pi-7", "serial": 1}], "refused": [], "missed": []}
    assert card.take(invite, desk.answer("pi-7"), now=1_000).certificate
    listed = {row["device"]: row for row in desk.call("list", *desk.office, "--state", desk.state)["devices"]}
    assert (listed["pi-7"]["status"], listed["pi-7"]["waiting"]) == ("enrolled", False)
    assert (listed["pi-8"]["status"], listed["pi-8"]["waiting"]) == ("invited", True)


def test_enrolment_without_a_network(desk: Desk) -> None:
    invite, card, out, back = desk.invite("pi-7"), Card(1), desk.folder / "requests", desk.folder / "answers"
    desk.asks(card.ask(invite), "pi-7")
    assert desk.call("requests", "--state", desk.state, "--out", out)["devices"] == ["pi-7"]
    assert desk.call("approve", "--all", *desk.office, "--in", out, "--out", back)["approved"]
    assert desk.call("answers", "--in", back, "--state", desk.state)["missed"] == []
    assert card.take(invite, desk.answer("pi-7"), now=1_000).certificate
    assert desk.call("revoke", "pi-7", *desk.office, "--out", back)["revoked"] == [1]
    desk.call("answers", "--in", back, "--state", desk.state)
    lists = opened(Envelope.decode((desk.state / "revocations").read_bytes()), Revocations)
    assert (lists.version, lists.serials) == (2, (1,))
    desk.asks(Card(2).ask(desk.invite("pi-7")), "pi-7")
    assert desk.call("answers", "--in", back, "--state", desk.state)["missed"] == []


def test_who_is_revoked_without_a_network_is_out_at_a_broker_that_does_not_run(desk: Desk) -> None:
    out, back, clients = desk.folder / "requests", desk.folder / "answers", desk.state / "broker" / "clients"
    for number, name in ((1, "pi-7"), (2, "pi-8")):
        desk.asks(Card(number).ask(desk.invite(name, "--clients", clients.parent)), name)
    desk.call("requests", "--state", desk.state, "--out", out)
    desk.call("approve", "--all", *desk.office, "--in", out, "--out", back)
    desk.call("answers", "--in", back, "--state", desk.state)
    assert {line.split()[0] for line in clients.read_text().splitlines()} == {"pi-7", "pi-8"}
    (serial,) = desk.call("revoke", "pi-7", *desk.office, "--out", back)["revoked"]
    assert "pi-7" in clients.read_text(), "nobody has told the broker's machine"
    desk.call("answers", "--in", back, "--state", desk.state)
    assert {line.split()[0] for line in clients.read_text().splitlines()} == {"pi-8"}
    listed = x509.load_pem_x509_crl((desk.state / "crl.pem").read_bytes())
    assert [one.serial_number for one in listed] == [serial]
    desk.call("answers", "--in", back, "--state", desk.state)  # once more does no harm
    desk.asks(Card(3).ask(desk.invite("pi-7", "--clients", clients.parent)), "pi-7")
    desk.call("revoke", "pi-8", *desk.office, "--out", back)
    desk.call("answers", "--in", back, "--state", desk.state)
    assert {line.split()[0] for line in clients.read_text().splitlines()} == {"pi-7"}, "who is invited anew may come in"


def test_a_fleets_folder_lets_nobody_in_who_is_revoked(desk: Desk) -> None:
    dev, state, clients = desk.folder / "dev", desk.folder / "broker", desk.folder / "broker" / "clients"
    desk.call("init", "--dev", dev, "--devices", 2)
    add = ["broker", "add", "--state", str(state), "--fleet", str(dev)]
    assert cli.main(add) == 0
    assert len(clients.read_text().splitlines()) == 3
    desk.call("revoke", "dev-000", "--enrolment", dev, "--out", desk.folder / "back")
    for _ in range(2):
        assert cli.main(add) == 0
        assert {line.split()[0] for line in clients.read_text().splitlines()} == {"aggregator", "dev-001"}
    file = desk.folder / "again"
    desk.call("invite", "dev-000", "--enrolment", dev, "--broker", "b:1", "--out", file, "--clients", state)
    assert cli.main(add) == 0
    assert "dev-000" in clients.read_text(), "it was enrolled anew, with another password"


def test_an_answer_that_comes_too_late_is_told(desk: Desk) -> None:
    out, back = desk.folder / "requests", desk.folder / "answers"
    desk.asks(Card(1).ask(desk.invite("pi-7")), "pi-7")
    desk.call("requests", "--state", desk.state, "--out", out)
    desk.call("approve", "--all", *desk.office, "--in", out, "--out", back)
    desk.asks(Card(2).ask(desk.invite("pi-7")), "pi-7")
    assert desk.call("answers", "--in", back, "--state", desk.state, code=1)["missed"] == ["pi-7"]


def test_refusals_are_answers_too(desk: Desk) -> None:
    invite, thief = desk.invite("pi-7"), Card(2)
    desk.invite("pi-7")
    desk.asks(thief.ask(invite), "pi-7")
    found = desk.call("approve", "--all", *desk.office, "--state", desk.state, code=1)
    assert found["refused"] == [{"device": "pi-7", "reason": "WrongToken"}]
    assert desk.text("approve", "--all", *desk.office, "--state", desk.state) == "nobody asks\n"
    desk.asks(b"noise", "pi-9")
    found = desk.call("approve", "--all", *desk.office, "--state", desk.state, code=1)
    assert found["refused"][0]["reason"] == "BadMessage"


def test_renewed_certificates_answer_the_same_request(desk: Desk) -> None:
    invite, card = desk.invite("pi-7"), Card(1)
    desk.asks(card.ask(invite), "pi-7")
    desk.call("approve", "--all", *desk.office, "--state", desk.state, "--days", 10)
    assert desk.call("renew", *desk.office, "--state", desk.state)["renewed"] == [{"device": "pi-7", "serial": 2}]
    assert card.take(invite, desk.answer("pi-7"), now=1_000).certificate
    assert opened(Envelope.decode(desk.answer("pi-7")), Enrolled).request
    assert "no certificate ends soon" in desk.text("renew", *desk.office, "--state", desk.state)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["init"], "give DIR, or --dev DIR"),
        (["init", "x", "--devices", "3"], "accord fleet invite"),
        (["invite", "a", "--broker", "nowhere", "--out", "x"], "not HOST:PORT"),
        (["invite", "a", "--broker", "h:1", "--out", "x", "--hours", "0"], "1 or more"),
        (["invite", "A", "--broker", "h:1", "--out", "x"], "is not a name"),
        (["invite", "aggregator", "--broker", "h:1", "--out", "x"], "reserved"),
        (["approve"], "or --all"),
        (["approve", "--all"], "--out FILE"),
        (["approve", "--all", "--out", "x"], "--in FILE"),
        (["approve", "nobody", "--state", "state"], "does not ask"),
        (["approve", "--all", "--state", "state", "--days", "0"], "--days is from 1"),
        (["approve", "--all", "--state", "elsewhere"], "state folder of `accord up`"),
        (["revoke", "nobody", "--state", "state"], "accord fleet list"),
        (["renew"], "--out FILE"),
    ],
)
def test_what_is_wrong_says_what_to_do(
    desk: Desk, words: list[str], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    desk.asks(Card(1).ask(desk.invite("pi-7")), "pi-7")
    more = () if words[0] == "init" else desk.office
    assert advice in desk.text(*words, *more, code=1)


def test_a_fleet_for_development_can_revoke_too(desk: Desk) -> None:
    desk.call("init", "--dev", desk.folder / "dev", "--devices", 3)
    assert FleetFolder(path=desk.folder / "dev").devices == ("dev-000", "dev-001", "dev-002")
    where = ("--enrolment", desk.folder / "dev", "--state", desk.state)
    assert [row["status"] for row in desk.call("list", *where)["devices"]] == ["enrolled"] * 3
    assert desk.call("revoke", "dev-001", *where)["revoked"] == [2]
    assert [row["status"] for row in desk.call("list", *where)["devices"]] == ["enrolled", "revoked", "enrolled"]
    office = FleetFolder(path=desk.folder / "dev").office()
    assert opened(Envelope.decode(office.revocations), Revocations).serials == (2,)
