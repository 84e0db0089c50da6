"""Keeps in the store who was seen and what each device has carried, and knows which connections it saw before."""

import time

from aggregator.attendance import Attendance
from aggregator.store import Store
from aggregator.tables import devices
from aggregator.unit_of_work import UnitOfWork


class SeenDevices:
    """The table of devices, kept up with what births, last wills and heartbeats say.

    Args:
        work: the transaction.
        attendance: what was heard.
        tenant: of devices that were never enrolled here.
    """

    def __init__(self, work: UnitOfWork, attendance: Attendance, tenant: str) -> None:
        self._work, self._attendance, self._tenant = work, attendance, tenant

    @staticmethod
    def births(store: Store) -> dict[str, int]:
        """Return the connections that were seen before this process began, by device."""
        with store.read() as connection:
            return {row.name: row.birth for row in devices.every(connection) if row.birth}

    def begin(self, revoked: frozenset[int]) -> None:
        """Forget who is online, as retained births tell it anew, and note whose certificates are revoked."""
        connection = self._work.writing()
        devices.nobody_online(connection)
        devices.revoked(connection, revoked)
        self._work.commit()

    def note(self) -> None:
        """Write down what has changed since the last call."""
        changed = sorted(self._attendance.changed)
        self._attendance.changed.clear()
        if not changed:
            return
        now = time.time()
        connection = self._work.writing()
        for name in changed:
            seen = self._attendance.devices[name]
            if devices.get(connection, name) is None:
                devices.enrolled(connection, name, tenant=self._tenant, serial=0, time=now)
            devices.seen(connection, name, online=seen.online, birth=seen.birth, time=now)
            up, down = seen.not_noted()
            devices.carried(connection, name, up=up, down=down)
        self._work.commit()
