"""Requests for certificates in the store: bounded, kept, answered once a person has, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import CodecError, Refusal, SignatureError
from accord.signing import SigningKey
from accord.wire.enrolment import ENROLMENT, Enrol, Enrolled
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF
from aggregator.audit.folder import AuditFiles, AuditFolder
from aggregator.audit.log import AuditLog
from aggregator.audit.salts import Salts
from aggregator.chronicle import AuditChronicle
from aggregator.enrolment import new_fleet
from aggregator.parcels import ANSWERS_FORM, APPROVED, Answer, Answers
from aggregator.post import Post
from aggregator.reception import MOST_WAITING, PAUSE, Reception
from aggregator.revocation_list import RevocationList
from aggregator.store import Store
from aggregator.tables import devices
from aggregator.unit_of_work import UnitOfWork

FLEET = new_fleet("t", SeededEntropy(1), 10_000)
NAME = "pi-7"


def asked(number: int = 1, name: str = NAME, **outside: str) -> bytes:
    key = SigningKey(bytes([number]) * 32)
    body = Enrol(device=name, identity=key.public, nonce=bytes(16), proof=bytes(32), csr=b"").encode()
    wrapped = {"sender": name, "recipient": ENROLMENT} | outside
    return seal(TAG_OF[Enrol], body, key=key, **wrapped).encode()


def answer(letter: bytes, serial: int, number: int = 1) -> Answer:
    message = Enrolled(
        request=prg.digest(letter),
        certificate=FLEET.certificate(NAME, SigningKey(bytes([number]) * 32).public, serial),
        roles=FLEET.roles(),
        revocations=FLEET.revocations(),
        transport=b"",
    )
    data = seal(TAG_OF[Enrolled], message.encode(), key=FLEET.enrolment, sender=ENROLMENT, recipient=NAME).encode()
    return Answer(device=NAME, request=prg.digest(letter), status=APPROVED, data=data)


class Desk:
    """A reception over one store, with an audit log and a clock of its own."""

    def __init__(self, store: Store, state: Path, url: str) -> None:
        self.store, self.state, self.url, self.now = store, state, url, 0.0
        self.folder = AuditFolder(state)
        log = AuditLog(self.folder, key=FLEET.aggregator, tenant="t")
        self.chronicle = AuditChronicle(log, Salts(state / "salts", SeededEntropy(2)), lambda: 1_000)
        self.reception = self.restarted()

    def restarted(self) -> Reception:
        self.work = UnitOfWork(self.store)
        self.reception = Reception(self.work, "t", self.chronicle, monotonic=lambda: self.now, clock=lambda: 1_000)
        return self.reception

    def deliver(self, *answers: Answer, version: int = 1) -> tuple[str, ...]:
        post = Post(self.state, self.url)
        try:
            lists = FLEET.revocations(version)
            return post.deliver(Answers(form=ANSWERS_FORM, answers=answers, revocations=lists, crl=b"", gone=()))
        finally:
            post.close()

    def waiting(self) -> tuple[bytes, ...]:
        post = Post(self.state, self.url)
        try:
            return post.collect().letters
        finally:
            post.close()

    def logged(self) -> int:
        return sum(b"enrolment" in frame.data for frame in AuditFiles(self.state).entries())


@pytest.fixture
def desk(store: Store, tmp_path: Path, url: str) -> Iterator[Desk]:
    found = Desk(store, tmp_path, url)
    yield found
    found.folder.close()


def test_a_request_waits_for_a_person_and_its_answer_is_handed_on_whenever_it_is_asked_for(desk: Desk) -> None:
    letter = asked()
    assert desk.reception.take(NAME, letter) is None
    assert desk.reception.take(NAME, letter) is None
    assert desk.waiting() == (letter,)
    assert desk.reception.answered() == ()
    given = answer(letter, 5)
    assert desk.deliver(given) == ()
    assert desk.waiting() == ()
    assert desk.reception.answered() == ((NAME, given.data),)
    assert desk.reception.answered() == ()
    assert desk.logged() == 1, "a certificate is in the log before it is handed on"
    assert desk.restarted().take(NAME, letter) == given.data
    assert desk.logged() == 1
    with desk.store.read() as connection:
        row = devices.get(connection, NAME)
        assert row is not None
        assert (row.serial, row.status) == (5, "enrolled")


def test_requests_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.reception.take(NAME, asked(1))
    for reason, letter in (("TooOften", asked(2)), ("TooLarge", asked(2) + bytes(1_024))):
        with pytest.raises(Refusal) as found:
            desk.reception.take(NAME, letter)
        assert found.value.reason == reason
    desk.now += PAUSE
    assert desk.reception.take(NAME, asked(2)) is None
    assert desk.waiting() == (asked(2),), "one for each device, the newest"
    assert MOST_WAITING >= 1_000
    monkeypatch.setattr("aggregator.reception.MOST_WAITING", 1)
    with pytest.raises(Refusal) as found:
        desk.reception.take("pi-8", asked(3, "pi-8"))
    assert found.value.reason == "TooManyWaiting"
    desk.now += PAUSE
    assert desk.reception.take(NAME, asked(4)) is None, "who waits already may ask anew"


def test_what_is_no_request_of_this_device_is_not_kept(desk: Desk) -> None:
    for letter in (asked(name="pi-8"), asked(sender="pi-8"), asked(recipient="aggregator")):
        with pytest.raises(Refusal) as found:
            desk.reception.take(NAME, letter)
        assert found.value.reason == "ForeignTopic"
    with pytest.raises(SignatureError):
        desk.reception.take(NAME, asked()[:-1] + bytes([asked()[-1] ^ 1]))
    with pytest.raises(CodecError):
        desk.reception.take(NAME, b"\xff")
    assert desk.waiting() == ()


def test_an_answer_to_a_letter_that_was_replaced_is_told(desk: Desk) -> None:
    desk.reception.take(NAME, asked(1))
    desk.now += PAUSE
    desk.reception.take(NAME, asked(2))
    assert desk.deliver(answer(asked(1), 5)) == (NAME,)
    assert desk.deliver(answer(asked(2), 6, 2)) == ()
    assert desk.deliver(answer(asked(2), 7, 2)) == (), "renewed"
    again = desk.restarted().take(NAME, asked(2))
    assert again == answer(asked(2), 7, 2).data


def test_a_barred_device_stays_barred_with_a_renewed_certificate_and_not_with_a_new_key(desk: Desk) -> None:
    desk.reception.take(NAME, asked(1))
    desk.deliver(answer(asked(1), 5))
    desk.reception.answered()
    with desk.store.begin() as connection:
        standing = devices.standing(connection, NAME)
        assert standing is not None
        devices.stood(connection, NAME, standing.bar("SeenTwice"), tenant="t", time=1.0)
    desk.deliver(answer(asked(1), 6))
    desk.restarted().take(NAME, asked(1))
    with desk.store.read() as connection:
        row = devices.get(connection, NAME)
        assert row is not None
        assert (row.status, row.reason) == ("barred", "SeenTwice")
    desk.now += PAUSE
    desk.reception.take(NAME, asked(2))
    desk.deliver(answer(asked(2), 7, 2))
    desk.reception.answered()
    with desk.store.read() as connection:
        row = devices.get(connection, NAME)
        assert row is not None
        assert (row.status, row.reason, row.serial) == ("enrolled", "", 7)


def test_a_standing_comes_back_and_revoked_devices_are_marked(store: Store) -> None:
    from aggregator.standing import Standing  # noqa: PLC0415 - beside its use

    one = Standing(serial=3, identity=b"i" * 32, sequence=2**32, birth=2**63 - 1, barred="SeenTwice")
    with store.begin() as connection:
        assert devices.standing(connection, NAME) is None
        devices.stood(connection, NAME, one, tenant="t", time=1.0)
        assert devices.standing(connection, NAME) == one
        assert devices.revoked(connection, frozenset({2, 3})) == (NAME,)
        assert devices.revoked(connection, frozenset({2, 3})) == ()
        row = devices.get(connection, NAME)
        assert row is not None
        assert row.status == "revoked"


def test_the_newest_list_counts_and_never_goes_back(tmp_path: Path) -> None:
    told: list[str] = []
    fleet, state = tmp_path / "fleet", tmp_path / "state"
    fleet.mkdir()
    state.mkdir()
    (fleet / "revocations").write_bytes(FLEET.revocations(2, (4,)))

    def opened() -> RevocationList:
        return RevocationList(fleet, state, FLEET.enrolment.public, lambda reason, _detail: told.append(reason))

    found = opened()
    assert found.list.serials == (4,)
    assert not found.look()
    post = FLEET.revocations(3, (4, 5))
    (state / "new").write_bytes(post)
    (state / "new").replace(state / "revocations")
    assert found.look()
    assert found.data == post
    assert not found.look()
    (fleet / "new").write_bytes(FLEET.revocations(2, (4,)))
    (fleet / "new").replace(fleet / "revocations")
    assert not found.look()
    assert told == ["OldRevocations"]
    forged = new_fleet("t", SeededEntropy(5), 10_000).revocations(9, ())
    (state / "new").write_bytes(forged)
    (state / "new").replace(state / "revocations")
    assert not found.look()
    assert told == ["OldRevocations", "BadSignature"]
    (state / "revocations").write_bytes(b"")
    assert not found.look()
    assert told[2:] == ["BadMessage"]
    assert found.list.serials == (4, 5)
    assert opened().list.version == 3, "what was seen is kept, whatever is put in its place"
