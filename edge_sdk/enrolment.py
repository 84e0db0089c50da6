"""A device's enrolment: the request that it makes once and keeps, and what it believes of an answer.

It believes enrolment's signature under the roles document that the pinned fleet root signed, and nobody else's: the
aggregator only carries the letters. See docs/protocol.md, section 17.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from accord import prg
from accord.entropy import Entropy
from accord.errors import CodecError, Refusal, UsageError
from accord.files import DISK, Disk, FileError
from accord.records import Octets, Record, field
from accord.secagg.authority import Authority, trusted_roles
from accord.values import dataclass
from accord.wire.enrolment import ENROLMENT, LARGEST_LETTER, Declined, Enrol, Enrolled, Invite, token_key
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, opened
from edge_sdk.keystore import IDENTITY, Credentials, Keystore
from edge_sdk.session_values import Ledger

FILE = "enrolment"
"""The request in the state folder."""
_NEXT = {
    "NoInvitation": "the invitation was withdrawn: ask for another one",
    "InvitationExpired": "the invitation is too old: ask for another one",
    "InvitationSpent": "the invitation was used before: ask for another one, and whether somebody else used it",
    "WrongToken": "a newer invitation stands for this device: use that one",
    "KeyUsedBefore": "this key was enrolled before: erase this device, then enrol it with a new invitation",
}


@dataclass(frozen=True, kw_only=True)
class Asked(Record):
    """The request as it is sent, whenever, and the digest of the invitation file that it uses."""

    LIMIT: ClassVar[int] = 2_048

    invite: bytes = field(Octets(32))
    letter: bytes = field(Octets(1, LARGEST_LETTER))


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom a device that asks believes, and how far it has gone; `now` is aggregator time in seconds."""

    tenant: str
    device: str
    root: bytes
    now: int
    ledger: Ledger


def kept(state: Path, disk: Disk = DISK) -> Asked | None:
    """Return the request that a device made; None if it made none.

    Raises:
        FileError: it is damaged.
    """
    path = state / FILE
    if not disk.exists(path):
        return None
    try:
        return Asked.decode(disk.read_private(path, Asked.LIMIT))
    except CodecError as error:
        raise FileError(f"{path} is damaged ({error}): erase the device and enrol it with a new invitation") from error


def request(
    data: bytes,
    state: Path,
    keystore: Keystore,
    entropy: Entropy,
    disk: Disk = DISK,
    *,
    csr: Callable[[], bytes] = lambda: b"",
) -> bytes:
    """Return the request for an invitation file's bytes: made and written once, the same ever after.

    Args:
        data: the file's bytes.
        state: the device's state folder.
        keystore: its keys.
        entropy: the identity key and a nonce are drawn from it.
        disk: that both lie on.
        csr: makes a request for a TLS certificate (PKCS#10, DER), or nothing where the device can't.

    Raises:
        CodecError: the file is no invitation.
        UsageError: this state folder holds another enrolment.
        FileError: it can't be written.
    """
    invite, name = Invite.decode(data), prg.digest(data)
    asked = kept(state, disk)
    if asked is not None and asked.invite == name:
        return asked.letter
    if asked is not None or keystore.complete:
        raise UsageError(f"{state} holds another enrolment: erase the device first (`accord device erase`)")
    key = keystore.identity() if IDENTITY in keystore.present else keystore.create_identity(entropy)
    nonce = entropy.child("nonce")(16)
    message = Enrol(
        device=invite.device,
        identity=key.public,
        nonce=nonce,
        proof=token_key(invite.token, invite.device).proof(key.public, nonce),
        csr=csr(),
    )
    letter = seal(TAG_OF[Enrol], message.encode(), key=key, sender=invite.device, recipient=ENROLMENT).encode()
    disk.write_atomic(disk.make_folder(state) / FILE, Asked(invite=name, letter=letter).encode())
    return letter


def given(data: bytes, letter: bytes, password: str, trust: Trust) -> Credentials:
    """Return what an answer gives this device, once everything in it was checked.

    Args:
        data: the answer.
        letter: the request.
        password: at the broker.
        trust: whom this device believes.

    Raises:
        Refusal: `Declined`, enrolment said no, and why; `NotTheRoot`, `ForeignTenant`, `Expired`, `OldRoles`,
            `NotEnrolled`, `Revoked`, `OldRevocations`, `ForeignAnswer`: the answer does not hold.
        CodecError: it is not an answer.
        SignatureError: enrolment did not sign it.
    """
    answer = Envelope.decode(data)
    if answer.tag not in (TAG_OF[Enrolled], TAG_OF[Declined]):
        raise Refusal("ForeignAnswer", f"{answer.tag} from {answer.sender} answers no request")
    message = opened(answer, Declined) if answer.tag == TAG_OF[Declined] else opened(answer, Enrolled)
    seen = trust.ledger
    roles = trusted_roles(message.roles, trust.root, trust.tenant, now=trust.now, seen=seen.roles_version)
    answer.check(roles.enrolment)
    if answer.sender != ENROLMENT or answer.recipient != trust.device or message.request != prg.digest(letter):
        raise Refusal("ForeignAnswer", f"an answer to another request than {trust.device}'s")
    if isinstance(message, Declined):
        raise Refusal("Declined", f"{message.reason}: {_NEXT[message.reason]}")
    listed = Envelope.decode(message.revocations)
    listed.check(roles.enrolment)
    revocations = opened(listed, Revocations)
    if revocations.version < seen.revocations_version:
        raise Refusal("OldRevocations", "a newer revocation list was seen before")
    authority = Authority(roles=roles, revocations=revocations, now=trust.now)
    certificate = authority.certificate(message.certificate, trust.device)
    if certificate.identity != opened(Envelope.decode(letter), Enrol).identity:
        raise Refusal("NotEnrolled", f"the certificate of {trust.device} is for another key than this device's")
    return Credentials(
        password=password,
        root=trust.root,
        roles=message.roles,
        certificate=message.certificate,
        transport=ssl.DER_cert_to_PEM_cert(message.transport).encode() if message.transport else b"",
    )


def serial(certificate: bytes) -> int:
    """Return the serial number of a certificate that was checked."""
    return opened(Envelope.decode(certificate), Certificate).serial
