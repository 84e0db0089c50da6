"""Which roles document a device believes: the one in force, and a newer one that waits for the attempt to end.

Sans-IO. Versions only go up, and every document is signed by the root that the device pinned: anybody may carry one.
"""

from accord.errors import Refusal
from accord.secagg.authority import trusted_roles
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles
from edge_sdk.session_values import Identity


class RolesInForce:
    """The documents of one device.

    Args:
        identity: who we are, the root that we pinned, and the document that we start with.
        now: aggregator time in seconds.
        seen: the highest version that was acted on before.

    Raises:
        Refusal: the document does not hold.
    """

    def __init__(self, identity: Identity, *, now: int, seen: int) -> None:
        self._identity, self.now = identity, now
        self.current = trusted_roles(identity.roles, identity.root, identity.tenant, now=now, seen=seen)
        self._next: tuple[bytes, Roles] | None = None

    def take(self, data: bytes) -> None:
        """Keep a document that came, if it is newer than what is known.

        Raises:
            Refusal: `NotTheRoot`, `ForeignTenant`, `Expired` or `OldRoles`; nothing changes.
        """
        newest = self.current if self._next is None else self._next[1]
        found = trusted_roles(data, self._identity.root, self._identity.tenant, now=self.now, seen=newest.version)
        if found.version > newest.version:
            self._next = data, found

    def check_opening(self, letter: Envelope) -> None:
        """Check that a new attempt is opened by the aggregator of the newest document that is known.

        Raises:
            SignatureError: another key signed it.
        """
        letter.check((self.current if self._next is None else self._next[1]).aggregator)

    def turn(self) -> bytes:
        """Put the newer document in force between two attempts; return its bytes, empty if there is none."""
        if self._next is None:
            return b""
        (data, self.current), self._next = self._next, None
        return data


def newer(given: bytes, heard: bytes | None, root: bytes, tenant: str) -> bytes:
    """Return the newer of two documents: the one that a device was given as a file, and the one that it heard.

    Whether it has ended is not looked at; one that the root did not sign is older than any.
    """
    return heard if heard is not None and _version(heard, root, tenant) > _version(given, root, tenant) else given


def _version(data: bytes, root: bytes, tenant: str) -> int:
    try:
        return trusted_roles(data, root, tenant, now=-1, seen=0).version
    except Refusal:
        return -1
