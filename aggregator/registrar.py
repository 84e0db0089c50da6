"""Who may take part: invitations, certificates and the revocation list, made where enrolment's key lies.

The aggregator has no part in it: it carries requests here and answers back. See docs/protocol.md, section 17.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from accord import prg
from accord.entropy import Entropy
from accord.errors import SignatureError, UsageError
from accord.files import DISK, Disk, FolderLock, SystemFiles
from accord.ids import checked_device
from accord.records import Record
from accord.signing import SigningKey
from accord.wire.enrolment import ENROLMENT, FORM, TOKEN, Declined, Enrol, Enrolled, Invite, TokenKey, token_key
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, Roles, opened
from aggregator.enrolment_ledger import SPENT, EnrolmentLedger, Invitation, Issued, LedgerEntry
from aggregator.fleet_folder import PASSWORD, PUBLIC, REVOCATIONS, EnrolmentFolder
from aggregator.parcels import ANSWERS_FORM, APPROVED, REFUSED, Answer, Answers, Decision
from aggregator.transport_ca import TransportCA
from aggregator.transport_certificates import requested

REVOKED = "revoked"  # and not invited anew


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """One device as enrolment knows it: `serial` and `expires` are of its newest certificate, 0 if it has none."""

    device: str
    serial: int
    expires: int
    status: str


class Registrar:
    """Enrolment's folder, for one process at a time.

    Args:
        folder: enrolment's, or that of a fleet for development.
        entropy: tokens and passwords are drawn from it.
        now: wall time in seconds.
        disk: where it lies.
        transport: the transport CA's folder; None means devices get no TLS certificate, and log in by password.

    Raises:
        FileError: a file is missing, damaged or readable by others, or another process works here.
        CodecError: a document is damaged.
        SignatureError: the revocation list is not enrolment's own.
    """

    def __init__(
        self, folder: Path, entropy: Entropy, now: int, disk: Disk = DISK, *, transport: Path | None = None
    ) -> None:
        self._lock = FolderLock(folder) if isinstance(disk.system, SystemFiles) else None
        self._entropy, self._now, self._disk = entropy, now, disk
        self._folder = EnrolmentFolder(path=folder, disk=disk)
        self._transport = None if transport is None else TransportCA(transport, entropy, disk)
        self._ledger = EnrolmentLedger(folder, disk)
        self._root, self._roles = self._folder.root(), self._folder.roles()
        roles = opened(Envelope.decode(self._roles), Roles)
        self.roles_version, self.roles_expires = roles.version, roles.expires
        self._key: SigningKey = self._folder.key(roles.enrolment, roles.version)
        self.tenant = roles.tenant
        letter = Envelope.decode(self._folder.revocations())
        self._revocations, self._revoked = letter.encode(), opened(letter, Revocations)
        self._take_over(letter)

    def close(self) -> None:
        """Let another process work here."""
        if self._lock is not None:
            self._lock.close()

    def invite(
        self, device: str, *, host: str, port: int, job: str, expires: int, mutual_port: int = 0, tls: bool = True
    ) -> Invite:
        """Open an invitation; one that was open for the same id is void.

        Args:
            device: its id.
            host: of the broker.
            port: of the broker, where a device logs in by password.
            job: that it shall take part in.
            expires: when the invitation ends, wall time in seconds.
            mutual_port: of the broker, where it asks for a client's certificate; 0 if nowhere.
            tls: whether the device shall talk TLS to the broker.

        Raises:
            UsageError: there is no transport CA for TLS.
            CodecError: the id can't be a device's, or the address is no address.
        """
        invite = Invite(
            form=FORM,
            tenant=self.tenant,
            device=checked_device(device),
            job=job,
            host=host,
            port=port,
            mutual_port=mutual_port,
            ca=self._ca() if tls else b"",
            root=self._root,
            expires=expires,
            token=self._entropy(TOKEN),
            password=self._entropy(PASSWORD).hex(),
        )
        opening = Invitation(key=token_key(invite.token, device).key, expires=expires)
        self._ledger.put(replace(self._ledger.entry(device), invitation=(opening,)))
        return invite

    def decide(self, data: bytes, expires: int) -> Decision:
        """Answer one request: a certificate if its sender holds the token of an open invitation, once.

        The same bytes again get the same certificate. An earlier one of the same device is revoked.

        Args:
            data: the letter as it came.
            expires: when the certificate shall end, wall time in seconds.

        Raises:
            CodecError: it is not a request.
            SignatureError: it is not signed by the key that it names.
        """
        letter = Envelope.decode(data)
        request = opened(letter, Enrol)
        letter.check(request.identity)
        entry, name = self._ledger.entry(request.device), prg.digest(data)
        before = [issued for issued in entry.issued if issued.request == name]
        reason = self._objection(entry, request, before)
        if reason:
            message = Declined(request=name, reason=reason, roles=self._roles)
            return self._decision(request.device, name, REFUSED, message, reason=reason)
        if request.csr and self._transport is not None:
            requested(request.device, request.csr)
        if not before:
            entry = self._issue(self._spent(entry), request.identity, name, expires)
            before = [entry.issued[-1]]
        self._revoke([issued.serial for issued in entry.issued if issued.identity != entry.issued[-1].identity])
        return self._approved(before[-1], request.device, self._certified(request, before[-1]))

    def revoke(self, device: str) -> tuple[int, ...]:
        """Revoke every certificate of a device, and its open invitation; return the serial numbers that are new.

        Raises:
            UsageError: no such device was ever invited.
        """
        entry = self._ledger.entry(device)
        if not entry.issued and not entry.invitation:
            raise UsageError(
                f"{device} has no certificate and no invitation: `accord fleet list` shows those that have"
            )
        if entry.invitation:
            self._ledger.put(replace(entry, invitation=()))
        return self._revoke([issued.serial for issued in entry.issued])

    def renew(self, ending_before: int, expires: int) -> tuple[Decision, ...]:
        """Certify the keys again whose certificates end before a time; the old ones hold until they end.

        Those that were signed with a key which enrolment has no more are certified again in any case.
        """
        found = []
        for device in self._ledger.devices:
            entry = self._ledger.entry(device)
            last = entry.issued[-1] if entry.issued else None
            if last is None or not last.request or last.serial in self._revoked.serials:
                continue
            if last.expires < min(ending_before, expires) or not self._signed(last.certificate):
                entry = self._issue(entry, last.identity, last.request, expires)
                found.append(self._approved(entry.issued[-1], device, self._certified_again(device, entry.issued[-1])))
        return tuple(found)

    def parcel(self, *decisions: Decision) -> Answers:
        """Return what the aggregator is given: answers, and who is revoked."""
        answers = tuple(decision.answer for decision in decisions)
        crl = b"" if self._transport is None else self._transport.revoked
        gone = tuple(row.device for row in self.every() if row.status == REVOKED)
        return Answers(form=ANSWERS_FORM, answers=answers, revocations=self._revocations, crl=crl, gone=gone)

    def every(self) -> tuple[Enrolment, ...]:
        """Return all devices, by name."""
        return tuple(self._shown(self._ledger.entry(device)) for device in self._ledger.devices)

    def _take_over(self, letter: Envelope) -> None:
        """Sign the list again, with the next version, if a key that enrolment had before has signed it."""
        try:
            letter.check(self._key.public)
        except SignatureError:
            if not any(_signed_by(letter, key) for key in self._folder.every_key()):
                raise
            self._list(self._revoked.serials)

    def _signed(self, certificate: bytes) -> bool:
        return _signed_by(Envelope.decode(certificate), self._key)

    def _shown(self, entry: LedgerEntry) -> Enrolment:
        last = entry.issued[-1] if entry.issued else None
        if last is None:
            open_ = any(invitation.expires > self._now for invitation in entry.invitation)
            return Enrolment(device=entry.device, serial=0, expires=0, status="invited" if open_ else "not enrolled")
        revoked, over = last.serial in self._revoked.serials, last.expires <= self._now
        status = REVOKED if revoked else "expired" if over else "enrolled"
        if any(invitation.expires > self._now for invitation in entry.invitation):
            status += ", invited"
        return Enrolment(device=entry.device, serial=last.serial, expires=last.expires, status=status)

    def _objection(self, entry: LedgerEntry, request: Enrol, before: list[Issued]) -> str:
        if before:
            return "InvitationSpent" if before[-1].serial in self._revoked.serials else ""
        if any(issued.identity == request.identity for issued in entry.issued):
            return "KeyUsedBefore"
        if any(TokenKey(device=entry.device, key=key).proves(request) for key in entry.spent):
            return "InvitationSpent"
        if not entry.invitation:
            return "NoInvitation"
        (invitation,) = entry.invitation
        if not TokenKey(device=entry.device, key=invitation.key).proves(request):
            return "WrongToken"
        return "InvitationExpired" if invitation.expires <= self._now else ""

    def _spent(self, entry: LedgerEntry) -> LedgerEntry:
        """Return the entry with its invitation spent; it is written with the certificate, in one write."""
        spent = (*entry.spent, *(invitation.key for invitation in entry.invitation))
        return replace(entry, invitation=(), spent=spent[-SPENT:])

    def _issue(self, entry: LedgerEntry, identity: bytes, request: bytes, expires: int) -> LedgerEntry:
        """Sign a certificate and write it down."""
        serial = self._ledger.next_serial()
        message = Certificate(device=entry.device, identity=identity, serial=serial, expires=expires)
        issued = Issued(
            serial=serial,
            expires=expires,
            identity=identity,
            request=request,
            certificate=self._sealed(message, entry.device),
        )
        entry = replace(entry, issued=(*entry.issued, issued)[-1_024:])
        self._ledger.put(entry)
        return entry

    def _ca(self) -> bytes:
        if self._transport is None:
            raise UsageError(
                "there is no transport CA for TLS: `accord fleet tls` makes one; a broker without TLS, whose "
                "passwords anybody on the network can read, needs --insecure"
            )
        return self._transport.der

    def _certified(self, request: Enrol, issued: Issued) -> bytes:
        if self._transport is None or not request.csr:
            return b""
        return self._transport.certify(request.device, request.csr, issued.serial, issued.expires)

    def _certified_again(self, device: str, issued: Issued) -> bytes:
        return b"" if self._transport is None else self._transport.certify_again(device, issued.serial, issued.expires)

    def _approved(self, issued: Issued, device: str, transport: bytes) -> Decision:
        message = Enrolled(
            request=issued.request,
            certificate=issued.certificate,
            roles=self._roles,
            revocations=self._revocations,
            transport=transport,
        )
        return self._decision(device, issued.request, APPROVED, message, serial=issued.serial)

    def _decision(
        self, device: str, request: bytes, status: str, message: Record, *, serial: int = 0, reason: str = ""
    ) -> Decision:
        answer = Answer(device=device, request=request, status=status, data=self._sealed(message, device))
        return Decision(answer=answer, serial=serial, reason=reason)

    def _revoke(self, serials: list[int]) -> tuple[int, ...]:
        fresh = tuple(sorted(set(serials) - set(self._revoked.serials)))
        if fresh:
            self._list(tuple(sorted({*self._revoked.serials, *fresh})))
        return fresh

    def _list(self, serials: tuple[int, ...]) -> None:
        """Sign the next list and write it down."""
        self._revoked = Revocations(version=self._revoked.version + 1, serials=serials)
        self._revocations = self._sealed(self._revoked, self.tenant)
        self._disk.write_atomic(self._folder.path / REVOCATIONS, self._revocations, PUBLIC)
        if self._transport is not None:
            self._transport.revoke(serials, self._now)

    def _sealed(self, message: Record, recipient: str) -> bytes:
        letter = seal(TAG_OF[type(message)], message.encode(), key=self._key, sender=ENROLMENT, recipient=recipient)
        return letter.encode()


def _signed_by(letter: Envelope, key: SigningKey) -> bool:
    try:
        letter.check(key.public)
    except SignatureError:
        return False
    return True
