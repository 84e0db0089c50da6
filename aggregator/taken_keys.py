"""The keys that one attempt has seen, and whose each is: no roster can hold one key twice."""

from accord.errors import Refusal
from accord.secagg import hybrid
from accord.wire.secure_sum import Member


class TakenKeys:
    """Identity keys of the devices that were offered the plan, and the keys that JOINs show, each part by itself."""

    def __init__(self) -> None:
        self._identities: dict[bytes, str] = {}
        self._identity_of: dict[str, bytes] = {}
        self._parts: dict[bytes, str] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._identities or key in self._parts

    def joiner(self, key: bytes) -> str | None:
        """Return the device whose JOIN shows a key, or None."""
        return self._parts.get(key)

    def check(self, device: str, identity: bytes) -> None:
        """Refuse a device whose identity key another device of the attempt has.

        Raises:
            Refusal: `DuplicateKey`.
        """
        other = self._identities.get(identity, device)
        if other != device:
            raise Refusal("DuplicateKey", f"{device} has the identity key of {other}: enrol one of them anew")

    def offered(self, device: str, identity: bytes) -> None:
        """Note a device's identity key, which takes the place of the one that it had before."""
        before = self._identity_of.get(device)
        if before is not None:
            del self._identities[before]
        self._identities[identity], self._identity_of[device] = device, identity

    def joined(self, device: str, member: Member) -> None:
        """Note the keys of a JOIN; none of them may be taken."""
        self._parts.update(dict.fromkeys(_parts(member), device))

    def left(self, member: Member) -> None:
        """Forget the keys of a JOIN that counts no more."""
        for part in _parts(member):
            del self._parts[part]


def _parts(member: Member) -> tuple[bytes, ...]:
    return (*hybrid.parts(member.mask_key), *hybrid.parts(member.seal_key))
