"""What the aggregator hands on: the roles document and the revocation list in force, and the turn to newer ones.

A revocation list counts from the next round on. A roles document is in force from when no round is under way, and is
logged before anything is signed with a key that it names.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accord.errors import SignatureError
from accord.files import FileError
from accord.link import Link
from accord.wire import topics
from aggregator.audit import entries
from aggregator.audit.folder import AuditFolder
from aggregator.chronicle import AuditChronicle
from aggregator.coordinator_values import Office
from aggregator.fleet_folder import FleetFolder
from aggregator.job_runner import Told
from aggregator.revocation_list import RevocationList
from aggregator.succession import DAY, Succession
from aggregator.tables import devices
from aggregator.unit_of_work import UnitOfWork


class Documents:
    """One aggregator's.

    Args:
        folder: where documents are put.
        state: the aggregator's state folder.
        audit: remembers which roles documents were in force.
        clock: wall time in whole seconds.
        told: called with a JSON-ready record of what is taken up, and of what is not.

    Raises:
        FileError: as for `Succession` and `RevocationList`.
        SignatureError: the revocation list is not enrolment's.
    """

    def __init__(
        self, folder: FleetFolder, state: Path, audit: AuditFolder, clock: Callable[[], int], told: Told
    ) -> None:
        self._folder, self._state, self._audit, self._clock, self._told = folder, state, audit, clock, told
        self._succession = Succession(folder, audit.newest_roles(), clock, self._refused)
        self._list = self._newest_list()

    @property
    def revocations(self) -> bytes:
        """The signed list that counts from the next round on."""
        return self._list.data

    @property
    def revoked(self) -> frozenset[int]:
        """The serial numbers on it."""
        return frozenset(self._list.list.serials)

    @property
    def office(self) -> Office:
        """The aggregator's key and documents, as they are in force."""
        return replace(self._succession.office, revocations=self._list.data)

    @property
    def turning(self) -> bool:
        """Whether a roles document waits until no round is under way."""
        return self._succession.next is not None

    def begin(self, *, resting: bool) -> Office:
        """Return what this process begins to work under.

        Args:
            resting: whether no round was under way when the process before ended.
        """
        if resting:
            self._succession.turn()
            self._list = self._newest_list()
        self._audit.keep_roles(self.office.roles)
        return self.office

    def look(self) -> bool:
        """Take note of new roles documents, warn of an end that is near, and return whether one waits for its turn."""
        days = self._succession.ends()
        if days is not None:
            self._told({"event": "roles ending", "version": self.office.roles_version, "days": days})
        return self._succession.look()

    def turn(self, chronicle: AuditChronicle) -> Office | None:
        """Put the roles document that waits in force; None if the revocation list is not of its enrolment key."""
        before = self._succession.office
        self._succession.turn()
        try:
            self._list = self._newest_list()
        except (FileError, SignatureError) as error:
            self._succession.office = before
            self._refused("BadSignature", f"the next roles document is not taken: {error}")
            return None
        office = self.office
        self._audit.keep_roles(office.roles)
        chronicle.turned(office.roles, office.key)
        chronicle.write(entries.of_revocation(self._clock(), office.revocations))
        days = (self._succession.roles.expires - self._clock()) // DAY
        self._told({"event": "roles", "version": office.roles_version, "days": days})
        return office

    def look_at_revocations(self, chronicle: AuditChronicle, work: UnitOfWork) -> None:
        """Take up a new list: it is logged before a plan names it."""
        if not self._list.look():
            return
        chronicle.write(entries.of_revocation(self._clock(), self._list.data))
        names = devices.revoked(work.writing(), self.revoked)
        work.commit()
        self._told({"event": "revocations", "version": self._list.list.version, "devices": list(names)})

    def announce(self, link: Link) -> None:
        """Have the broker keep the roles document: devices take it up whenever they come."""
        link.publish(topics.roles(self.office.tenant), self.office.roles, retain=True)

    def _newest_list(self) -> RevocationList:
        return RevocationList(self._folder.home, self._state, self._succession.office.enrolment, self._refused)

    def _refused(self, reason: str, detail: str) -> None:
        self._told({"event": "refused", "device": "", "reason": reason, "detail": detail})
