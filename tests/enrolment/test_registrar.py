"""An invitation enrols one device once; whoever holds no token gets no certificate, whatever it sends."""

import dataclasses
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from enrolling_fleet import DAY, NAME, NOW, Card, Office
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import CodecError, SignatureError, UsageError
from accord.files import Disk, FileError
from accord.files.crash_points import crash_points
from accord.signing import SigningKey
from accord.wire.enrolment import ENROLMENT, Enrol, Invite, token_key
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Certificate, opened
from aggregator.enrolment_ledger import EnrolmentLedger, Invitation, LedgerEntry
from aggregator.fleet_folder import FleetFolder
from aggregator.fleet_making import create_in_parts
from aggregator.registrar import Registrar
from edge_sdk.enrolment import serial

ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


def forged(
    invite: Invite, *, token: bytes | None = None, device: str | None = None, proof: bytes | None = None
) -> bytes:
    """Return a request with a key of somebody's own, and whatever they know."""
    key, nonce = SigningKey(b"x" * 32), bytes(16)
    name = device or invite.device
    proof = token_key(token or invite.token, name).proof(key.public, nonce)
    message = Enrol(device=name, identity=key.public, nonce=nonce, proof=proof, csr=b"")
    return seal(TAG_OF[Enrol], message.encode(), key=key, sender=name, recipient=ENROLMENT).encode()


def test_an_invited_device_gets_a_certificate_for_its_own_key(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1)
    letter = card.ask(invite)
    assert invite.token not in letter
    reason, number, answer = enrolment.decide(letter)
    assert (reason, number) == ("", 1)
    found = card.take(invite, answer)
    certificate = opened(Envelope.decode(found.certificate), Certificate)
    assert certificate.identity == card.keystore.identity().public
    assert (certificate.device, certificate.serial, certificate.expires) == (NAME, 1, NOW + 90 * DAY)
    assert enrolment.decide(letter)[:2] == ("", 1), "asked again it is the same certificate"
    card.keystore.save(found)
    assert card.keystore.complete


def test_its_tls_key_is_certified_with_it_under_the_same_number(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1)
    assert x509.load_der_x509_certificate(invite.ca).extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    letter = card.ask(invite)
    found = card.take(invite, enrolment.decide(letter)[2])
    tls = x509.load_pem_x509_certificate(found.transport)
    assert tls.subject.rfc4514_string() == f"CN={NAME}"
    assert (tls.serial_number, tls.not_valid_after_utc.timestamp()) == (1, NOW + 90 * DAY)
    key = load_pem_private_key(card.disk.read_private(card.keystore.folder / "tls.key", 1_000), None)
    assert tls.public_key() == key.public_key()
    assert card.take(invite, enrolment.decide(letter)[2]).transport == found.transport
    card.keystore.save(found)
    assert card.keystore.load() == found
    registrar = enrolment.open()
    (renewed,) = registrar.renew(NOW + 365 * DAY, NOW + 200 * DAY)
    registrar.close()
    again = card.take(invite, renewed.answer.data)
    newer = x509.load_pem_x509_certificate(again.transport)
    assert (newer.serial_number, newer.public_key()) == (2, tls.public_key())
    card.keystore.renew(again)
    assert card.keystore.load() == again
    enrolment.revoke()
    listed = x509.load_pem_x509_crl((enrolment.path.parent / "transport" / "crl.pem").read_bytes())
    assert [one.serial_number for one in listed] == [1, 2]


def test_a_device_without_x509_logs_in_by_password_alone(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1, tls=False)
    found = card.take(invite, enrolment.decide(card.ask(invite))[2])
    assert found.transport == b""
    card.keystore.save(found)
    assert card.keystore.complete
    assert card.keystore.load() == found


def test_a_request_for_another_devices_tls_certificate_spends_no_invitation(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1)
    thief = Card(2)
    thief.csr = lambda _name: Card.csr(thief, "pi-8")
    with pytest.raises(CodecError, match="pi-8"):
        enrolment.decide(thief.ask(invite))
    assert enrolment.decide(card.ask(invite))[:2] == ("", 1)


def test_a_token_is_spent_once(enrolment: Office) -> None:
    invite = enrolment.invite()
    assert enrolment.decide(Card(1).ask(invite))[0] == ""
    assert enrolment.decide(Card(2).ask(invite))[0] == "InvitationSpent"
    assert enrolment.list().serials == (), "a second user of a token takes nothing from the first"


def test_a_token_is_bound_to_its_device_and_to_time(enrolment: Office) -> None:
    invite, other = enrolment.invite(), enrolment.invite("pi-8")
    assert enrolment.decide(forged(invite, device="pi-8"))[0] == "WrongToken"
    assert enrolment.decide(forged(invite, device="pi-9"))[0] == "NoInvitation"
    enrolment.now += 25 * 3_600
    assert enrolment.decide(Card(1).ask(invite))[0] == "InvitationExpired"
    assert enrolment.decide(forged(other, token=bytes(32)))[0] == "WrongToken"
    again = enrolment.invite()
    assert enrolment.decide(Card(1).ask(invite))[0] == "WrongToken", "the newer invitation stands"
    assert enrolment.decide(Card(2).ask(again))[0] == ""


@ONE_FOLDER
@given(st.binary(min_size=32, max_size=32))
def test_no_guessed_token_is_taken(enrolment: Office, token: bytes) -> None:
    invite = enrolment.invite()
    assert enrolment.decide(forged(invite, token=token))[0] == ("" if token == invite.token else "WrongToken")


def test_a_proof_is_for_one_key(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1)
    letter = Envelope.decode(card.ask(invite))
    seen = opened(letter, Enrol)
    thief = SigningKey(b"t" * 32)
    stolen = dataclasses.replace(seen, identity=thief.public)
    body = seal(TAG_OF[Enrol], stolen.encode(), key=thief, sender=NAME, recipient=ENROLMENT).encode()
    assert enrolment.decide(body)[0] == "WrongToken"
    with pytest.raises(SignatureError):
        enrolment.decide(seal(TAG_OF[Enrol], seen.encode(), key=thief, sender=NAME, recipient=ENROLMENT).encode())
    with pytest.raises(CodecError):
        enrolment.decide(b"\xff")
    assert enrolment.decide(letter.encode())[0] == ""


def test_a_wiped_card_is_enrolled_anew_and_its_old_certificate_revoked(enrolment: Office) -> None:
    first, old = enrolment.invite(), Card(1)
    had = old.take(first, enrolment.decide(old.ask(first))[2])
    second, card = enrolment.invite(), Card(2)
    reason, number, answer = enrolment.decide(card.ask(second))
    assert (reason, number) == ("", 2)
    assert enrolment.list().serials == (1,)
    assert serial(card.take(second, answer).certificate) == 2
    assert enrolment.decide(old.ask(first))[0] == "InvitationSpent", "the old card learns that it is out"
    assert serial(had.certificate) == 1
    third = enrolment.invite()
    assert enrolment.decide(kept_key(card, third))[0] == "KeyUsedBefore"


def kept_key(card: Card, invite: Invite) -> bytes:
    """Return a request of a device that kept its key."""
    key, nonce = card.keystore.identity(), bytes(16)
    proof = token_key(invite.token, NAME).proof(key.public, nonce)
    message = Enrol(device=NAME, identity=key.public, nonce=nonce, proof=proof, csr=b"")
    return seal(TAG_OF[Enrol], message.encode(), key=key, sender=NAME, recipient=ENROLMENT).encode()


def test_revoking_takes_the_certificate_and_the_open_invitation(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1)
    enrolment.decide(card.ask(invite))
    again = enrolment.invite()
    assert enrolment.revoke() == (1,)
    assert enrolment.revoke() == ()
    assert enrolment.list().serials == (1,)
    assert enrolment.list().version == 2
    assert enrolment.decide(Card(2).ask(again))[0] == "NoInvitation"
    with pytest.raises(UsageError, match="fleet list"):
        enrolment.revoke("nobody")


def test_certificates_near_their_end_are_renewed_for_the_same_key(enrolment: Office) -> None:
    invite, card = enrolment.invite(), Card(1)
    letter = card.ask(invite)
    had = card.take(invite, enrolment.decide(letter)[2])
    enrolment.now += 70 * DAY
    registrar = enrolment.open()
    assert registrar.renew(enrolment.now + 10 * DAY, enrolment.now + 90 * DAY) == ()
    (decision,) = registrar.renew(enrolment.now + 30 * DAY, enrolment.now + 90 * DAY)
    registrar.close()
    now = card.take(invite, decision.answer.data, now=enrolment.now)
    old, new = (opened(Envelope.decode(one.certificate), Certificate) for one in (had, now))
    assert (new.serial, new.identity) == (2, old.identity)
    assert new.expires == old.expires + 70 * DAY
    assert enrolment.list().serials == ()
    assert enrolment.decide(letter)[1] == 2
    enrolment.revoke()
    registrar = enrolment.open()
    assert registrar.renew(enrolment.now + 365 * DAY, enrolment.now + 400 * DAY) == ()
    registrar.close()


def test_the_list_tells_where_each_device_stands(enrolment: Office) -> None:
    enrolment.invite("waits")
    for name in ("in", "out"):
        invite = enrolment.invite(name)
        enrolment.decide(Card(len(name)).ask(invite))
    enrolment.revoke("out")
    registrar = enrolment.open()
    assert [(row.device, row.serial, row.status) for row in registrar.every()] == [
        ("in", 1, "enrolled"),
        ("out", 2, "revoked"),
        ("waits", 0, "invited"),
    ]
    registrar.close()
    enrolment.now += 200 * DAY
    registrar = enrolment.open()
    assert [row.status for row in registrar.every()] == ["expired", "revoked", "not enrolled"]
    with pytest.raises(FileError, match="another process"):
        enrolment.open()
    registrar.close()


def test_enrolment_keeps_no_token_and_the_aggregator_no_key_of_enrolments(tmp_path: Path) -> None:
    folder = create_in_parts(tmp_path / "fleet", "t", NOW + DAY, SeededEntropy(9), now=NOW).path
    invite = Office(folder / "enrolment").invite()
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert invite.token not in everything
    assert "token" not in repr(invite)
    assert invite.password not in repr(invite)
    secret = (folder / "enrolment" / "key").read_bytes()
    root = (folder / "root" / "key").read_bytes()
    inside = [path.read_bytes() for path in (folder / "aggregator").rglob("*") if path.is_file()]
    assert not any(one in data for one in (secret, root) for data in inside)
    whole, part = FleetFolder(path=folder).office(), FleetFolder(path=folder / "aggregator").office()
    assert dataclasses.replace(whole, key=part.key) == part
    assert whole.key.public == part.key.public
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("key"))
    with pytest.raises(UsageError, match="fleet already"):
        create_in_parts(folder, "t", NOW, SeededEntropy(1), now=NOW)


def test_the_power_may_go_at_any_write_of_enrolment(tmp_path: Path) -> None:
    folder = create_in_parts(tmp_path / "fleet", "t", NOW + 900 * DAY, SeededEntropy(9), now=NOW).path
    parts = ("enrolment", "transport")
    old, card, letters, second = Card(1), Card(2), [], []

    def prepare(disk: Disk) -> None:
        for path in sorted(path for part in parts for path in (folder / part).iterdir()):
            disk.write_atomic(disk.make_folder(Path("/") / path.parent.name) / path.name, path.read_bytes())
        office = Office(Path("/enrolment"), disk)
        office.decide(old.ask(office.invite()))
        second[:] = [office.invite()]
        letters[:] = [card.ask(second[0])]

    def decided(disk: Disk) -> tuple[str, int, bytes]:
        return Office(Path("/enrolment"), disk, calls=9).decide(letters[0])

    points = 0
    for _, _, disk in crash_points(decided, prepare):
        points += 1
        reason, number, answer = decided(disk)
        assert reason == ""
        assert serial(card.take(second[0], answer).certificate) == number
        assert number in (2, 3), "a number that was drawn is never drawn again"
        assert x509.load_pem_x509_certificate(card.take(second[0], answer).transport).serial_number == number
        assert Office(Path("/enrolment"), disk).list().serials == (1,)
        assert decided(disk)[1] == number
        assert EnrolmentLedger(Path("/enrolment"), disk).next_serial() > number
    assert points > 20


def test_damage_has_a_name(enrolment: Office) -> None:
    enrolment.invite()
    path = enrolment.path / "ledger" / "devices" / NAME
    path.write_bytes(b"\x00")
    with pytest.raises(FileError, match="bring back a copy"):
        enrolment.invite()
    (enrolment.path / "ledger" / "serial").write_text("many")
    (enrolment.path / "ledger" / "serial").chmod(0o600)
    with pytest.raises(FileError, match="bring back a copy"):
        EnrolmentLedger(enrolment.path).next_serial()
    (enrolment.path / "roles").write_bytes(b"")
    with pytest.raises(CodecError):
        enrolment.open()


KEYS = st.binary(min_size=32, max_size=32)


@given(st.builds(Invitation, key=KEYS, expires=st.integers(0, 2**48)), st.lists(KEYS, max_size=16))
def test_an_entry_comes_back(invitation: Invitation, spent: list[bytes]) -> None:
    entry = LedgerEntry(form="enrolment-ledger/1", device="a", invitation=(invitation,), spent=tuple(spent), issued=())
    assert LedgerEntry.decode(entry.encode()) == entry
    assert invitation.key.hex() not in repr(invitation)


def test_another_fleets_folder_is_refused(tmp_path: Path) -> None:
    one = create_in_parts(tmp_path / "one", "t", NOW + DAY, SeededEntropy(1), now=NOW).path / "enrolment"
    two = create_in_parts(tmp_path / "two", "t", NOW + DAY, SeededEntropy(2), now=NOW).path / "enrolment"
    (one / "roles").write_bytes((two / "roles").read_bytes())
    with pytest.raises(FileError, match="is it the right folder"):
        Registrar(one, SeededEntropy(1), NOW)
