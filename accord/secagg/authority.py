"""Whom to believe: the keys that the fleet root's roles document names, and the certificates they signed."""

from dataclasses import field, replace

from accord import prg
from accord.errors import CodecError, Refusal, SignatureError
from accord.values import dataclass
from accord.wire.envelope import Envelope
from accord.wire.messages import Certificate, Revocations, Roles, opened

_CACHED = 4_096


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A verified roles document and revocation list, at one moment of aggregator time (seconds)."""

    roles: Roles
    revocations: Revocations
    now: int
    _known: dict[bytes, Certificate] = field(default_factory=dict, repr=False, compare=False)

    def at(self, now: int) -> "Authority":
        """Return the same authority at a later moment, with the certificates that it has verified."""
        return replace(self, now=now)

    def certificate(self, data: bytes, device: str) -> Certificate:
        """Return the certificate in `data` if it is `device`'s and holds now.

        Raises:
            Refusal: `NotEnrolled`, signed by somebody else or for another device; `Expired`; `Revoked`.
        """
        name = prg.digest(data)
        certificate = self._known.get(name)
        if certificate is None:
            certificate = self._verified(data, device)
            if len(self._known) < _CACHED:
                self._known[name] = certificate
        if certificate.device != device:
            raise Refusal("NotEnrolled", f"{device} shows the certificate of {certificate.device}")
        if certificate.expires <= self.now:
            raise Refusal("Expired", f"the certificate of {device} ended at {certificate.expires}")
        if certificate.serial in self.revocations.serials:
            raise Refusal("Revoked", f"the certificate of {device} was revoked")
        return certificate

    def _verified(self, data: bytes, device: str) -> Certificate:
        try:
            letter = Envelope.decode(data)
            letter.check(self.roles.enrolment)
            return opened(letter, Certificate)
        except (CodecError, SignatureError) as error:
            raise Refusal("NotEnrolled", f"{device}: {error}") from error


def trusted_roles(data: bytes, root: bytes, tenant: str, *, now: int, seen: int) -> Roles:
    """Return the roles document in `data` if the pinned fleet root signed it and it holds now.

    Args:
        data: the signed document.
        root: the fleet root's public key, 32 bytes.
        tenant: the tenant that the device belongs to.
        now: aggregator time in seconds.
        seen: the highest version seen so far; a lower one is refused.

    Raises:
        Refusal: `NotTheRoot`, `ForeignTenant`, `Expired` or `OldRoles`.
    """
    try:
        letter = Envelope.decode(data)
        letter.check(root)
        roles = opened(letter, Roles)
    except (CodecError, SignatureError) as error:
        raise Refusal("NotTheRoot", f"the roles document is not the fleet root's: {error}") from error
    if roles.tenant != tenant:
        raise Refusal("ForeignTenant", f"the roles document is for {roles.tenant}, not {tenant}")
    if roles.expires <= now:
        raise Refusal("Expired", f"the roles document ended at {roles.expires}")
    if roles.version < seen:
        raise Refusal("OldRoles", f"roles version {roles.version} is lower than {seen}, which was seen before")
    return roles
