"""One job from its first round to its last: begins rounds, takes what they give, and goes on after a restart.

It owns the job's transport and books. Everything that a round changes is in the books before anything that follows from
it is sent, so a process that is killed at any moment comes back into the same round.
"""

import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from accord.entropy import Entropy
from accord.errors import AccordError
from accord.link import Link
from accord.prg import digest
from aggregator.attendance import NOTHING, Attendance
from aggregator.books import Books
from aggregator.chronicle import Chronicle, NoChronicle
from aggregator.coordinator import Coordinator
from aggregator.coordinator_values import (
    Aborted,
    Announce,
    Closed,
    Declined,
    Effect,
    Log,
    Model,
    Planned,
    Send,
    Start,
    Stood,
    Tick,
    Withdrew,
)
from aggregator.deltas import Deltas
from aggregator.job import Job
from aggregator.round_record import RoundRecord
from aggregator.transport import Notice, Transport
from aggregator.way_down import REASONS

Told = Callable[[Mapping[str, Any]], None]


class JobRunner:
    """One job over one link.

    Args:
        link: connected as the aggregator.
        coordinator: fresh.
        job: fresh.
        books: what is kept; what they hold is gone on from.
        objects: what devices may fetch, by digest; this job's model is put there.
        entropy: each round's seed is drawn from it.
        monotonic: seconds.
        clock: wall time in whole seconds.
        gather: seconds that a round waits for devices that are not online.
        told: called with a JSON-ready record of each round, abort, refusal and figure.
        chronicle: the audit log; None writes none.
        revocations: gives the signed list that counts from the next round on; None is the office's.
        attendance: who is there and what they have carried, shared with other jobs.
        held: whether the owner calls `transport.release` for many deliveries at once.

    Raises:
        CodecError: the books are another job's.
    """

    def __init__(
        self,
        *,
        link: Link,
        coordinator: Coordinator,
        job: Job,
        books: Books,
        objects: MutableMapping[bytes, bytes],
        entropy: Entropy,
        monotonic: Callable[[], float],
        clock: Callable[[], int],
        gather: float,
        told: Told,
        attendance: Attendance | None = None,
        chronicle: Chronicle | None = None,
        revocations: Callable[[], bytes] | None = None,
        held: bool = True,
    ) -> None:
        self.job, self.coordinator, self.stopping = job, coordinator, False
        self.failure = ""
        """Why the job can't go on; empty while it can."""
        self.superseded = False
        """Whether another runner must go on: from a newer version than this one's, or under a newer roles document."""
        self._books, self._objects, self._entropy, self._told = books, objects, entropy, told
        self._chronicle = NoChronicle(coordinator.office.checkpoint) if chronicle is None else chronicle
        self._revocations = revocations
        self._monotonic, self._offset = monotonic, 0.0
        self._gather = gather
        self._opens: float | None = None
        self._heard = 0
        self._replaying = False
        self.transport = Transport(
            link=link,
            coordinator=coordinator,
            objects=objects,
            now=self.now,
            clock=clock,
            told=self._noticed,
            deltas=Deltas(job.layout, books.older, job.advances.since),
            journal=books,
            attendance=attendance,
            held=held,
        )
        self._record = RoundRecord(coordinator.settings.job, self.transport.attendance)

    def now(self) -> float:
        """Return monotonic seconds that go on where the process before stopped: time switched off counts for nobody."""
        return self._monotonic() + self._offset

    @property
    def ended(self) -> bool:
        """Whether no round will follow: the last one is over, one failed for good, or the job was told to stop."""
        over = self.stopping or self.superseded or bool(self.failure) or self.job.purpose is None
        return over and not self.coordinator.busy and not self._record.closed

    def start(self) -> None:
        """Listen to the devices, and come back to where the books end."""
        found = self._books.state()
        if found is None:
            params = self.coordinator.model.params
        else:
            state, params, beside = found
            self.job.restore(state, params, beside)
            before = self.coordinator.model
            model = Model(
                version=state.version,
                params=params,
                digest=state.params,
                bundle_digest=before.bundle_digest,
                bundle_size=before.bundle_size,
            )
            self.coordinator.restore(number=state.round, transcript=state.transcript, model=model)
        self._objects[digest(params)] = params
        # A process that was killed between its last commit and the sends after it has told nobody.
        self.transport.carry_out(*(Send(device=name, data=data) for name, data in self._books.last_results().items()))
        noted, unfinished = tuple(self._books.noted()), self._books.unfinished()
        if unfinished is not None:  # it was closed, and nobody was told
            self._record.take_up(unfinished)
        if noted:
            self._offset = max(0.0, noted[-1][1] - self._monotonic())
            began = next((at for event, at, _ in noted if isinstance(event, Start)), self.now())
            self._record.go_on(began, self._books.measured())
            self._replaying = True
            self.transport.replay(noted)
            self._replaying = False
        self._record.count_from_here()
        self.transport.start()
        self.transport.release()

    def poll(self) -> None:
        """Do what is due: let time pass, finish a round's record, begin the next round."""
        now, attendance = self.now(), self.transport.attendance
        if self.coordinator.busy:
            if attendance.heard != self._heard:
                self._heard = attendance.heard
                self._books.measure(self._record.carried())
            due = self.coordinator.next_time()
            if due is not None and now >= due:
                self.transport.step(Tick())
        elif self._record.closed:
            if self._record.settled(now):
                self._finish(self._record.finish())
        elif not self.ended:
            self._await(now)

    def _await(self, now: float) -> None:
        """Begin the next round once everybody is here, or was waited for."""
        request = self.job.request()
        if request is None:
            return
        if self._opens is None:
            self._opens = now + self._gather
        if len(self.coordinator.online) >= self.job.settings.devices or now >= self._opens:
            self._opens = None
            self.superseded = self._books.superseded(self.coordinator.model.version)
            if self.superseded:
                return
            self._record.begin(now)
            self._books.measure(NOTHING)
            online = tuple(sorted(self.coordinator.online))
            checkpoint = self._chronicle.checkpoint()
            self.transport.step(
                Start(
                    request=request,
                    online=online,
                    seed=self._entropy(32),
                    checkpoint=checkpoint,
                    revocations=b"" if self._revocations is None else self._revocations(),
                )
            )

    def _noticed(self, notice: Notice) -> None:  # noqa: C901 - one for each kind
        match notice:
            case Log(device=device, reason=reason, detail=detail):
                self._told({"event": "refused", "device": device, "reason": reason, "detail": detail})
            case Aborted(final=final):
                fact = {"attempt": notice.attempt, "reason": notice.reason, "detail": notice.detail}
                self._record.abort(fact)
                if not self._replaying:
                    self._told({"event": "aborted", "round": notice.round, **fact})
                if final:
                    self._gave_up(notice)
            case Declined(device=device, reason=reason):
                self._record.decline(device, reason)
                if not self._replaying:
                    self._told({"event": "declined", **dataclasses.asdict(notice)})
            case Withdrew():
                self._told({"event": "withdrew", **dataclasses.asdict(notice)})
            case Stood(device=device, standing=standing):
                self._chronicle.barred(device, standing)
            case Planned(plan=plan):
                self._chronicle.planned(plan)
            case Closed():
                self._took(notice)

    def _gave_up(self, aborted: Aborted) -> None:
        """A round without a sum: training goes on with the model as it is; without statistics nothing can."""
        purpose = self.job.purpose
        if purpose == "train":
            self.job.skip()
        else:
            self.failure = f"the {purpose} round could not be closed: {aborted.reason}, {aborted.detail}"
        self._close(
            {
                "round": aborted.round,
                "attempt": aborted.attempt,
                "purpose": purpose,
                "status": "aborted",
                "reason": aborted.reason,
                "included": [],
                "dropped": [],
                "recovered": [],
            },
            None,
        )

    def _took(self, closed: Closed) -> None:
        step = self.job.closed(closed)
        if step.reason and step.purpose != "train":
            self.failure = f"the {step.purpose} round says nothing that can be believed: {step.reason}"
        release: tuple[Effect, ...] = ()
        if step.snapshot is not None:
            params = step.snapshot.encode()
            self._objects.pop(self.coordinator.model.digest, None)
            release = self.coordinator.release(params, closed.round)
            self._objects[self.coordinator.model.digest] = params
        figures = {name: values for name, values in step.figures.items() if len(values) == 1}
        self._close(
            {
                "round": closed.round,
                "attempt": closed.attempt,
                "purpose": step.purpose,
                "status": "closed",
                "reason": step.reason,
                "cohorts": len(closed.totals),
                "shortened": list(step.shortened),
                "left_out": step.left_out,
                "lost_cohorts": list(closed.lost_cohorts),
                "included": list(closed.included),
                "dropped": list(closed.dropped),
                "recovered": list(closed.recovered),
                "saturated": step.saturated,
                "scale_doubled": step.doubled,
                **({"way_down": step.way_down, "way_down_because": REASONS[step.way_down]} if step.way_down else {}),
                "figures": figures,
                "version": self.coordinator.model.version,
            },
            closed,
        )
        self._chronicle.closed(self.coordinator.settings.job, closed.round, closed.attempt, closed.included)
        for effect in release:
            if isinstance(effect, Announce):
                self._chronicle.released(effect.data)
        self.transport.carry_out(*release)

    def _close(self, record: dict[str, Any], closed: Closed | None) -> None:
        coordinator = self.coordinator
        whole = self._record.close(record | {"devices": len(coordinator.online)}, self.now())
        state = self.job.state(
            number=coordinator.round, transcript=coordinator.transcript, version=coordinator.model.version
        )
        self._books.close(state, coordinator.model.params, self.job.beside, whole, closed)

    def _finish(self, record: dict[str, Any]) -> None:
        self._books.amend(dict(record))
        figures = record.pop("figures", None)
        record.pop("bytes_of", None)  # `accord round show` has them
        self._told({"event": "round", **record})
        if figures is not None:
            self._told({"event": "figures", "round": record["round"], "purpose": record["purpose"], "figures": figures})

    def fail(self, error: AccordError) -> None:
        """Stop for good, by name."""
        self.failure = str(error)
