"""Which roles document the aggregator works under, and the next one that was put there, until its turn comes.

A round ends under the document that its plan names: the next one is in force from when no round is under way. It never
goes back. See docs/protocol.md, section 14.
"""

from collections.abc import Callable
from pathlib import Path

from accord.errors import CodecError, Refusal, SignatureError
from accord.files import FileError, read_limited
from accord.secagg.authority import trusted_roles
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from aggregator.coordinator_values import Office
from aggregator.fleet_folder import REVOCATIONS, ROLES, ROOT, FleetFolder
from aggregator.revocation_list import Stamp, stamp

DAY = 86_400
ENDS_SOON = 14
"""Days before its end from which on a document is spoken of, once a day."""


class Succession:
    """The documents of one aggregator.

    Args:
        folder: where they are put.
        kept: the newest that was in force here; empty at the first start.
        clock: wall time in whole seconds.
        told: called with the name of the reason and a sentence when a document is not taken.

    Raises:
        FileError: a file is missing, or a secret is readable by others; `OldRoles`, the document in the folder is older
            than the one that was in force; `MissingKey`.
    """

    def __init__(
        self, folder: FleetFolder, kept: bytes, clock: Callable[[], int], told: Callable[[str, str], None]
    ) -> None:
        self._folder, self._clock, self._told = folder, clock, told
        self._spoken = 0
        self._stamps: tuple[Stamp, ...] = ()
        self.next: Office | None = None
        """What has been put there and is not in force yet."""
        self.office = folder.office(kept)
        if kept and folder.office().roles_version < self.office.roles_version:
            version = self.office.roles_version
            raise FileError(
                f"the roles document in {folder.home} is older than version {version}, which was in force here: bring "
                "back the newest one",
                "OldRoles",
            )
        self.look()

    @property
    def roles(self) -> Roles:
        """The document in force."""
        return opened(Envelope.decode(self.office.roles), Roles)

    def look(self) -> bool:
        """Take note of what was put there since the last call, and return whether a document waits for its turn."""
        home = self._folder.home
        now = tuple(stamp(path) for path in (home / ROLES, home / REVOCATIONS, self._folder.aggregator_key.parent))
        if now != self._stamps:
            self._stamps = now
            try:
                self._take(home)
            except Refusal as refusal:
                self._told(refusal.reason, f"{home / ROLES} is not taken: {refusal.detail}")
            except FileError as error:
                self._told(error.reason or "FileError", f"{home / ROLES} is not taken: {error}")
            except SignatureError as error:
                self._told("BadSignature", f"{home / ROLES} waits for a revocation list of the new key: {error}")
            except CodecError as error:
                self._told("BadMessage", f"{home / ROLES} is not taken: {error}")
        return self.next is not None

    def turn(self) -> Office:
        """Put the next document in force and return what the aggregator works under."""
        if self.next is not None:
            self.office, self.next = self.next, None
        return self.office

    def ends(self) -> int | None:
        """Return the days that are left, once a day when they are few; else None."""
        now, roles = self._clock(), self.roles
        if roles.expires - now >= ENDS_SOON * DAY or now - self._spoken < DAY:
            return None
        self._spoken = now
        return max(0, (roles.expires - now) // DAY)

    def _take(self, home: Path) -> None:
        newest = self.office if self.next is None else self.next
        data = read_limited(home / ROLES, 1 << 20)
        if data == newest.roles:
            return
        root = bytes.fromhex(read_limited(home / ROOT, 256).decode("ascii", "replace"))
        roles = trusted_roles(data, root, self.office.tenant, now=self._clock(), seen=newest.roles_version)
        if roles.version == newest.roles_version:
            return
        found = self._folder.office()
        if found.enrolment != self.office.enrolment:
            Envelope.decode(found.revocations).check(found.enrolment)
        self.next = found
