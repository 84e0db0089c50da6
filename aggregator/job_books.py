"""A job's books in the store: its journal, results, rounds, log lines, versions, and where it stands.

All of it is written in the owner's unit of work: what was taken and what follows from it become durable together.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from accord import __version__
from accord.errors import CodecError, UsageError
from accord.wire.versions import DataSchema, Version
from aggregator import journal, noted, retention
from aggregator.attendance import NOTHING, Figures
from aggregator.blobs import DamagedBlobError, MissingBlobError
from aggregator.books import Noted
from aggregator.coordinator_values import Closed, Event, Office, Request, Settle
from aggregator.deltas import BACK
from aggregator.desk import Desk
from aggregator.export_gate import export_figures
from aggregator.job_state import JobState
from aggregator.registry import Registry
from aggregator.standing import Standing
from aggregator.tables import devices, jobs, lines, results, rounds
from aggregator.unit_of_work import UnitOfWork

WHOLE = "whole"
"""The key in a record that says that its bytes are still measured; a record that has none is whole."""
KEPT = 30 * 86_400
"""Seconds for which results and log lines are kept."""


class JobBooks:
    """One job's.

    Args:
        work: the transaction.
        registry: over the store's blobs.
        office: signs versions.
        name: the job's; it is in the store.
        bundle: digest of its bundle, which is among the blobs.
        input_shape: of one row.
        request: what the job asks for in its next round.
        clock: wall time in whole seconds.
    """

    def __init__(
        self,
        *,
        work: UnitOfWork,
        registry: Registry,
        office: Office,
        name: str,
        bundle: bytes,
        input_shape: tuple[int, ...],
        request: Callable[[], Request | None],
        clock: Callable[[], int],
    ) -> None:
        self._work, self._registry, self._office, self._name = work, registry, office, name
        self._desk = Desk(office.key)
        self._bundle, self._shape, self._request, self._clock = bundle, input_shape, request, clock
        self._last: dict[str, Any] = {}
        self._measured, self._kept = NOTHING, NOTHING
        self._beside, self._beside_before = frozenset[bytes](), set[bytes]()

    def note(self, event: Event, now: float, clock: int) -> None:
        """Add an event that the coordinator is about to take."""
        connection = self._work.writing()
        journal.append(connection, self._name, noted.entry(event, now, clock))
        if self._measured != self._kept:
            self._kept = self._measured
            journal.append(connection, self._name, noted.measured(self._measured, now, clock))

    def measure(self, figures: Figures) -> None:
        """Keep the bytes of the round under way with its next event: they cost no commit of their own."""
        self._measured = figures

    def measured(self) -> Figures:
        """Return what is known of the bytes of the round that was under way."""
        with self._work.reading() as connection:
            rows = [row for row in journal.replay(connection, self._name) if row.kind == noted.MEASURED]
        return noted.Measured.decode(rows[-1].data).figures if rows else NOTHING

    def unfinished(self) -> Mapping[str, Any] | None:
        """Return the record of the last round, if it was closed and not amended."""
        with self._work.reading() as connection:
            last = rounds.last(connection, self._name)
        if last is None or last.record.get(WHOLE, True):
            return None
        self._last = {"started": last.started}
        return {name: value for name, value in last.record.items() if name != WHOLE}

    def settle(self, result: Settle) -> None:
        """Keep a device's RESULT."""
        results.put(
            self._work.writing(),
            self._name,
            result.round,
            result.attempt,
            letters={result.device: result.data},
            time=self._clock(),
        )

    def recall(self, device: str, at: tuple[int, int] | None = None) -> bytes | None:
        """Return the RESULT that was kept for a device, the last one or that of a round and attempt."""
        with self._work.reading() as connection:
            if at is not None:
                return results.get(connection, self._name, *at, device)
            return results.latest(connection, self._name, device)

    def last_results(self) -> Mapping[str, bytes]:
        """Return the RESULTs of the last attempt that ended, by device: what was kept may not have been sent."""
        with self._work.reading() as connection:
            return results.of_last(connection, self._name)

    def standing(self, device: str) -> Standing | None:
        """Return where a device stands."""
        with self._work.reading() as connection:
            return devices.standing(connection, device)

    def stand(self, device: str, standing: Standing) -> None:
        """Keep where a device stands, for all jobs."""
        tenant, now = self._office.tenant, float(self._clock())
        devices.stood(self._work.writing(), device, standing, tenant=tenant, time=now)

    def line(self, record: Mapping[str, Any]) -> None:
        """Write a log line."""
        lines.append(self._work.writing(), self._name, float(self._clock()), record)

    def commit(self) -> None:
        """Make it durable, with whatever else is in the unit of work."""
        self._work.commit()
        if self._beside_before:
            self._drop()

    def state(self) -> tuple[JobState, bytes, Mapping[bytes, bytes]] | None:
        """Return where the job stood, with the newest version's snapshot: a rollback made meanwhile counts.

        An advance that is gone is left out: there are other ways to the newest version.

        Raises:
            UsageError: another version of Accord wrote it.
            MissingBlobError: the snapshot is gone.
            DamagedBlobError: it is damaged.
        """
        with self._work.reading() as connection:
            row = jobs.get(connection, self._name)
            head = self._registry.head(connection, self._name)
        if row.state is None:
            return None
        try:
            state = JobState.decode(row.state)
        except CodecError as error:
            raise UsageError(
                f"where job {self._name} stands was written by another version of Accord ({error}): let that version "
                "end it, on the copy of the state folder that was made before the upgrade, or start a new job; what "
                "was kept of this one stays as it is"
            ) from error
        self._beside = state.beside
        if head is not None and head.version.version > state.version:
            state = state.rolled_back(head.version.version, head.version.params)
        beside = {state.residual: self._registry.blobs.get(state.residual)} if state.residual else {}
        for one in state.advances:
            with contextlib.suppress(MissingBlobError, DamagedBlobError):
                beside[one.advance] = self._registry.blobs.get(one.advance)
        return state, self._registry.blobs.get(state.params), beside

    def older(self, params: bytes) -> bytes | None:
        """Return the snapshot of this digest if it is one of the job's last versions, else None.

        Raises:
            DamagedBlobError: it is damaged.
        """
        with self._work.reading() as connection:
            known = self._registry.lately(connection, self._name, params, BACK)
        return self._registry.blobs.get(params) if known else None

    def noted(self) -> tuple[Noted, ...]:
        """Return the events of the round that was under way."""
        with self._work.reading() as connection:
            rows = tuple(row for row in journal.replay(connection, self._name) if row.kind != noted.MEASURED)
        return tuple((noted.event(row, self._request), row.now, row.clock) for row in rows)

    def begin(self, version: int, params: bytes, data: DataSchema) -> None:
        """Register the version that the bundle starts, unless it is there."""
        if self._registry.head(self._work.writing(), self._name) is None:
            self._register(version, params, data, None)

    def close(
        self,
        state: JobState,
        params: bytes,
        beside: Mapping[bytes, bytes],
        record: Mapping[str, Any],
        closed: Closed | None,
    ) -> None:
        """Note how a round ended, and forget its events."""
        connection = self._work.writing()
        self._put(beside)
        head = self._registry.head(connection, self._name)
        figures = _means(record.get("figures", {}))
        if head is not None and figures:  # what devices measured is the version that they had
            self._registry.measure(connection, self._desk, head, record["round"], figures, self._office.roles_version)
        if closed is not None and (head is None or state.version > head.version.version):
            self._register(
                state.version, params, DataSchema(input_shape=self._shape, columns=(), task=state.task), closed
            )
        self._last = {"started": float(self._clock()) - record["seconds"]}
        self._round(connection, {**record, WHOLE: False})
        self._measured = self._kept = NOTHING
        for device in record["included"]:
            devices.carried(connection, device, rounds=1)
        jobs.checkpoint(connection, self._name, state=state.encode(), closed=state.round)
        journal.clear(connection, self._name)
        results.forget(connection, self._clock() - KEPT)
        lines.forget(connection, float(self._clock() - KEPT))
        self._work.deleted_secrets()

    def amend(self, record: Mapping[str, Any]) -> None:
        """Write the record of the last round again."""
        self._round(self._work.writing(), record)

    def superseded(self, version: int) -> bool:
        """Return whether a rollback has made a newer version; none can be made from here until this is committed."""
        connection = self._work.writing()
        jobs.locked(connection, self._name)
        head = self._registry.head(connection, self._name)
        return head is not None and head.version.version > version

    def ended(self, status: str, error: str = "") -> None:
        """Note that the job goes on no more for now."""
        jobs.set_status(self._work.writing(), self._name, status, error)

    def _put(self, beside: Mapping[bytes, bytes]) -> None:
        """Keep what the state names beside the model; what the one before named stays until this one is durable."""
        before, self._beside = self._beside, frozenset(beside)
        for name in self._beside - before:
            self._registry.blobs.put(beside[name])
        self._beside_before = (self._beside_before | before) - self._beside

    def _drop(self) -> None:
        """Delete what no job names any more; what is durable says what that is, whoever has committed meanwhile."""
        try:
            with self._work.reading() as connection:
                durable = retention.of_states(connection)
        except UsageError:
            return  # of another job nobody knows what it names
        for old in self._beside_before - durable:
            self._registry.blobs.drop(old)
        self._beside_before &= durable

    def _round(self, connection: Connection, record: Mapping[str, Any]) -> None:
        names = ("round", "attempt", "purpose", "status", "reason", "seconds")
        row = rounds.RoundRow(
            job=self._name, started=self._last["started"], record=record, **{name: record[name] for name in names}
        )
        rounds.put(connection, row)

    def _register(self, version: int, params: bytes, data: DataSchema, closed: Closed | None) -> None:
        connection, office, blank = self._work.writing(), self._office, bytes(32)
        head = self._registry.head(connection, self._name)
        self._registry.register(
            connection,
            self._desk,
            Version(
                tenant=office.tenant,
                job=self._name,
                version=version,
                origin="bundle" if closed is None else "round",
                parent=b"" if head is None else head.digest,
                restored=b"",
                round=0 if closed is None else closed.round,
                attempt=0 if closed is None else closed.attempt,
                plan=b"" if closed is None else closed.plan_digest,
                previous=blank if closed is None else closed.previous,
                cohorts=() if closed is None else closed.cohorts,
                transcript=blank if closed is None else closed.transcript,
                bundle=self._bundle,
                params=self._registry.blobs.put(params),
                params_size=len(params),
                code=__version__,
                data=data,
                roles_version=office.roles_version,
                time=self._clock(),
            ),
            params=params,
            roles=office.roles,
        )


def _means(figures: Mapping[str, list[float]]) -> dict[str, float]:
    """Return figures per row from the sums of a round's tails."""
    rows = figures.get("count", [0.0])[0]
    names = {"loss": "loss", "correct": "accuracy", "absolute": "mae"}
    found = {shown: figures[name][0] / rows for name, shown in names.items() if rows and name in figures}
    return found | export_figures(figures)
