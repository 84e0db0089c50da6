"""A running device takes up a certificate that enrolment renewed, and nothing that somebody else made of it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from enrolling_fleet import DAY, NAME, NOW, Card, Office, office

from accord.entropy import SeededEntropy
from accord.errors import Refusal, SignatureError
from accord.signing import SigningKey
from accord.wire.enrolment import Enrolled, Invite
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Roles, opened
from edge_sdk.enrolment import serial
from edge_sdk.keystore import CERTIFICATE
from edge_sdk.renewing import EACH, NEAR, OFTEN, Renewing
from edge_sdk.session_values import Identity, Ledger


class Enrolled7:
    """A device that was enrolled, and the office that renews it."""

    def __init__(self, folder: Path) -> None:
        self.office: Office = office(folder)
        self.invite: Invite = self.office.invite()
        self.card = Card(1)
        self.letter = self.card.ask(self.invite)
        reason, _, self.first = self.office.decide(self.letter)
        assert not reason
        self.card.keystore.save(self.card.take(self.invite, self.first))
        held = self.card.keystore.load()
        self.identity = Identity(
            device=NAME,
            tenant="t",
            key=self.card.keystore.identity(),
            certificate=held.certificate,
            root=held.root,
            roles=held.roles,
        )

    def start(self, certificate: Path | None = None) -> Renewing:
        path = self.card.state / "keys" / CERTIFICATE if certificate is None else certificate
        return Renewing(self.card.state, path, SeededEntropy(3), 0.0, self.card.disk)

    def renewed(self, days: int = 200) -> bytes:
        registrar = self.office.open()
        try:
            [found] = registrar.renew(NOW + 365 * DAY, NOW + days * DAY)
        finally:
            registrar.close()
        return found.answer.data

    def take(self, running: Renewing, data: bytes, now: int = NOW) -> Identity | None:
        running.take(data, self.identity, Ledger(), now)
        return running.ready(self.roles, now)

    @property
    def roles(self) -> Roles:
        return opened(Envelope.decode(self.identity.roles), Roles)


@pytest.fixture
def device(tmp_path: Path) -> Enrolled7:
    return Enrolled7(tmp_path)


def test_a_renewed_certificate_is_written_and_gone_on_with(device: Enrolled7) -> None:
    running = device.start()
    assert device.take(running, device.first) is None, "it has that one"
    answer = device.renewed()
    found = device.take(running, answer)
    assert found is not None
    assert serial(found.certificate) == 2
    assert replace(found, certificate=device.identity.certificate) == device.identity
    assert device.card.keystore.load().certificate == found.certificate, "also after a restart"
    assert device.take(running, answer) is None, "once"
    assert device.take(running, device.first) is None, "and never back"
    assert device.take(device.start(), answer) is None


def test_nobody_else_can_renew_it(device: Enrolled7) -> None:
    running, answer = device.start(), Envelope.decode(device.renewed())
    held = device.card.keystore.load()
    forged = seal(answer.tag, answer.payload, key=SigningKey(b"s" * 32), sender="enrolment", recipient=NAME)
    with pytest.raises(SignatureError):
        device.take(running, forged.encode())
    other = device.office.invite("pi-8")
    theirs = device.office.decide(Card(2).ask(other))[2]
    with pytest.raises(Refusal, match="ForeignAnswer"):
        device.take(running, theirs)
    with pytest.raises(Refusal, match="Expired"):
        device.take(running, answer.encode(), now=NOW + 201 * DAY)
    assert device.card.keystore.load() == held
    assert opened(answer, Enrolled).certificate != held.certificate


def test_a_certificate_of_enrolments_next_key_waits_for_the_roles_document_that_names_it(device: Enrolled7) -> None:
    running, answer = device.start(), device.renewed()
    other = replace(device.roles, enrolment=bytes(32))
    running.take(answer, device.identity, Ledger(), NOW)
    assert running.ready(other, NOW) is None
    found = running.ready(device.roles, NOW)
    assert found is not None
    assert serial(found.certificate) == 2
    assert running.ready(device.roles, NOW) is None, "once"


def test_it_asks_when_it_starts_daily_and_hourly_near_the_end(device: Enrolled7) -> None:
    running, ends = device.start(), NOW + 90 * DAY

    def times(begin: float, moment: int, count: int) -> list[float]:
        """Return when it asks, as seconds go by one minute at a time."""
        found, now = [], begin
        while len(found) < count:
            if running.question(now, moment):
                found.append(now)
            now += 60.0
        return found

    assert running.question(0.0, NOW) == device.letter
    assert running.question(1.0, NOW) == b""
    calm = times(60.0, NOW, 4)
    gaps = [b - a for a, b in pairwise([0.0, *calm])]
    assert all(EACH / 2 <= gap <= EACH * 3 / 2 + 60 for gap in gaps)
    assert len(set(gaps)) > 1, "a fleet that starts at once does not ask at once"
    near = times(calm[-1] + 2 * EACH, ends - NEAR, 4)
    assert all(OFTEN / 2 <= b - a <= OFTEN * 3 / 2 + 60 for a, b in pairwise(near))


def test_a_device_that_others_certified_does_not_ask(device: Enrolled7) -> None:
    elsewhere = device.start(Path("/etc/accord/certificate"))
    assert elsewhere.question(1e9, NOW) == b""
    assert device.take(elsewhere, device.renewed()) is None


def test_what_is_an_answer(device: Enrolled7) -> None:
    running = device.start()
    assert running.answers(device.first)
    assert not running.answers(device.letter)
    assert not running.answers(b"noise")
    assert TAG_OF[Enrolled] == Envelope.decode(device.first).tag
