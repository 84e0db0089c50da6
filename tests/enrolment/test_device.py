"""A device asks with the same bytes whatever happens to it, and believes nobody but enrolment under its own root."""

import dataclasses
import sys
from pathlib import Path

import pytest
import tomllib
from enrolling_fleet import DAY, NAME, NOW, Card, Office
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import CodecError, Refusal, SignatureError, UsageError
from accord.files import Disk, FileError, FolderLock, make_folder
from accord.files.crash_points import crash_points
from accord.link import Delivery
from accord.link.memory import MemoryBroker
from accord.wire import topics
from accord.wire.enrolment import FORM, Invite
from edge_sdk.config import load
from edge_sdk.config_file import Way, Work, write
from edge_sdk.enrolling import _csr, ask, enrol, renew
from edge_sdk.enrolment import FILE, Trust, request, serial
from edge_sdk.enrolment import given as believed
from edge_sdk.keystore import Credentials, Keystore
from edge_sdk.session_values import Ledger

INVITE = Invite(
    form=FORM,
    tenant="t",
    device=NAME,
    job="job",
    host="127.0.0.1",
    port=1883,
    mutual_port=0,
    ca=b"",
    root=bytes(32),
    expires=NOW,
    token=bytes(32),
    password="password",
)
STATE = Path("/state")


def test_the_request_is_the_same_bytes_wherever_the_power_goes() -> None:
    letters = set()

    def act(disk: Disk) -> bytes:
        return request(INVITE.encode(), STATE, Keystore(STATE / "keys", disk), SeededEntropy(1), disk)

    for _, _, disk in crash_points(act):
        once = act(disk)
        assert request(INVITE.encode(), STATE, Keystore(STATE / "keys", disk), SeededEntropy(2), disk) == once
        letters.add(once)
    assert len(letters) == 1, "what was drawn is drawn once; a key that was written is used"


def test_another_invitation_needs_an_erased_device() -> None:
    card = Card(1)
    card.ask(INVITE)
    other = dataclasses.replace(INVITE, token=b"t" * 32)
    with pytest.raises(UsageError, match="accord device erase"):
        card.ask(other)
    enrolled = Card(2)
    enrolled.keystore.create_identity(SeededEntropy(3))
    enrolled.keystore.save(Credentials(password="p", root=bytes(32), roles=b"r", certificate=b"c"))
    with pytest.raises(UsageError, match="accord device erase"):
        enrolled.ask(INVITE)
    with pytest.raises(CodecError):
        request(b"\xff", STATE, card.keystore, SeededEntropy(1), card.disk)
    card.disk.write_atomic(STATE / FILE, b"\x00")
    with pytest.raises(FileError, match="erase the device"):
        card.ask(INVITE)


class Waiting:
    """A device that asks over a link in memory; what it is sent comes when it listens."""

    def __init__(self, enrolment: Office, number: int = 1) -> None:
        self.office, self.card = enrolment, Card(number)
        self.invite = enrolment.invite()
        self.letter = self.card.ask(self.invite)
        self.broker = MemoryBroker("t", SeededEntropy(5))
        self.link = self.broker.connect(NAME)
        self.link.subscribe(topics.down("t", NAME, "rsp"))
        self.aggregator = self.broker.connect("aggregator")
        self.aggregator.subscribe(topics.everything_up("t")[0])
        self.told: list[str] = []
        self.time = 0.0

    def heard(self) -> list[Delivery]:
        found = []
        while (delivery := self.aggregator.receive(0)) is not None:
            found.append(delivery)
        return found

    def say(self, *answers: bytes) -> None:
        for data in answers:
            self.aggregator.publish(topics.down("t", NAME, "rsp"), data)

    def ask(self, timeout: float = 30.0, ledger: Ledger | None = None) -> Credentials | None:
        def clock() -> float:
            self.time += 1.0
            return self.time

        trust = Trust(tenant="t", device=NAME, root=self.invite.root, now=NOW, ledger=ledger or Ledger())
        return ask(
            self.link,
            self.letter,
            self.invite.password,
            trust,
            told=lambda name, _sentence: self.told.append(name),
            timeout=timeout,
            clock=clock,
        )


def test_it_waits_asks_again_and_takes_the_answer(enrolment: Office) -> None:
    waiting = Waiting(enrolment)
    assert waiting.ask() is None
    sent = waiting.heard()
    assert len(sent) > 2
    assert {delivery.payload for delivery in sent} == {waiting.letter}
    assert {delivery.topic for delivery in sent} == {topics.up("t", NAME, "req")}
    waiting.say(enrolment.decide(waiting.letter)[2])
    found = waiting.ask()
    assert found is not None
    assert serial(found.certificate) == 1


def test_nobody_but_enrolment_can_turn_it_away(enrolment: Office) -> None:
    waiting = Waiting(enrolment)
    stranger = Office(enrolment.path)
    other = stranger.invite("pi-8")
    waiting.say(b"\xff", stranger.decide(Card(3).ask(other))[2], enrolment.decide(waiting.letter)[2])
    assert waiting.ask() is not None
    assert waiting.told == ["Waiting", "BadMessage", "ForeignAnswer"]
    spent = Waiting(enrolment, 2)
    enrolment.decide(spent.letter)
    enrolment.revoke()
    spent.say(enrolment.decide(spent.letter)[2])
    with pytest.raises(Refusal, match=r"InvitationSpent: .* ask for another one") as found:
        spent.ask()
    assert found.value.reason == "Declined"


@given(st.integers(0, 5_000), st.integers(1, 255))
@settings(deadline=None, max_examples=60)
def test_no_changed_byte_of_an_answer_is_believed(at: int, change: int) -> None:
    answer = bytearray(ANSWER[1])
    answer[at % len(answer)] ^= change
    invite, letter = ANSWER[0], ANSWER[2]
    trust = Trust(tenant="t", device=NAME, root=invite.root, now=NOW, ledger=Ledger())
    with pytest.raises((CodecError, SignatureError, Refusal)):
        believed(bytes(answer), letter, "password", trust)


@pytest.fixture(autouse=True, scope="module")
def _an_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    from enrolling_fleet import office  # noqa: PLC0415 - beside its use

    enrolment, card = office(tmp_path_factory.mktemp("answer")), Card(1)
    invite = enrolment.invite()
    letter = card.ask(invite)
    ANSWER[:] = [invite, enrolment.decide(letter)[2], letter]


ANSWER: list = []


def test_documents_do_not_go_back(enrolment: Office) -> None:
    waiting = Waiting(enrolment)
    answer = enrolment.decide(waiting.letter)[2]
    for seen, reason in ((Ledger(roles_version=2), "OldRoles"), (Ledger(revocations_version=2), "OldRevocations")):
        waiting.say(answer)
        waiting.told.clear()
        assert waiting.ask(3.0, seen) is None
        assert waiting.told == ["Waiting", reason]
    trust = Trust(tenant="t", device=NAME, root=waiting.invite.root, now=NOW + 91 * DAY, ledger=Ledger())
    with pytest.raises(Refusal, match="ended") as found:
        believed(answer, waiting.letter, "p", trust)
    assert found.value.reason == "Expired"


def test_the_configuration_that_is_written_is_one_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    bundle = tmp_path / 'a "bundle"\\ é'
    write(path, INVITE, Work(bundle=bundle, data=tmp_path / "rows.npz", smallest_cohort=3))
    config = load(path)
    assert (config.device, config.tenant, config.job, config.reach.port) == (NAME, "t", "job", 1883)
    assert config.reach.insecure, "an invitation without a CA is to a broker without TLS"
    assert config.state.resolve() == tmp_path.resolve()
    assert config.identity.resolve() == (tmp_path / "keys" / "identity").resolve()
    assert config.bundle == bundle.resolve()
    assert config.limits.smallest_cohort == 3
    write(path, INVITE, Work())
    assert load(path).bundle.resolve() == (tmp_path / "bundle").resolve()
    assert set(tomllib.loads(path.read_text())) == {"device", "broker", "work"}
    secured = dataclasses.replace(INVITE, ca=b"\x30", mutual_port=8884)
    login = tmp_path / 'the "login"'
    write(path, secured, Work(), Way(server_name="b", websocket="/mqtt", proxy="http://p:1", proxy_login=login))
    reach = load(path).reach
    assert (reach.insecure, reach.mutual_port, reach.server_name) == (False, 8884, "b")
    assert (reach.websocket, reach.proxy, reach.proxy_login) == ("/mqtt", "http://p:1", login.resolve())


def test_where_nothing_makes_x509_no_certificate_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secured, keystore = dataclasses.replace(INVITE, ca=b"\x30"), Keystore(tmp_path / "keys")
    asked = _csr(secured, keystore, SeededEntropy(1))
    assert asked
    assert keystore.present == ()
    assert (tmp_path / "keys" / "tls.key").stat().st_mode & 0o777 == 0o600
    assert _csr(INVITE, keystore, SeededEntropy(1)) == b"", "nor where the broker has no TLS"
    monkeypatch.setitem(sys.modules, "accord.link.tls_key", None)
    monkeypatch.delattr("accord.link.tls_key")
    assert _csr(secured, keystore, SeededEntropy(1)) == b""


def test_a_running_device_is_not_disturbed(tmp_path: Path) -> None:
    """A second connection under its id would throw it off the broker, again and again."""
    state, file = tmp_path / "state", tmp_path / "pi-7.invite"
    file.write_bytes(INVITE.encode())
    file.chmod(0o600)
    running = FolderLock(make_folder(state))
    with pytest.raises(FileError, match="another process"):
        enrol(file, state, Work(), told=lambda _name, _sentence: None, timeout=1.0)
    write(state / "device.toml", INVITE, Work())
    with pytest.raises(FileError, match="another process"):
        renew(load(state / "device.toml"), state / "device.toml", told=lambda _name, _sentence: None, timeout=1.0)
    running.close()
    with pytest.raises(UsageError, match="accord device enrol"):
        renew(load(state / "device.toml"), state / "device.toml", told=lambda _name, _sentence: None, timeout=1.0)
