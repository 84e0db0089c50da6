"""One job's rounds, one after another: openings, retries, results and releases.

Sans-IO: `step(event, now, clock)` returns effects in order; `now` is monotonic seconds, `clock` is wall time in whole
seconds and goes only into signed documents.
"""

from collections.abc import Callable

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import CodecError, LocalProtocolError, Refusal, SignatureError
from accord.plan import Plan
from accord.tensors import Layout
from accord.wire.check_in import CheckIn
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Outcome, Release
from accord.wire.secure_sum import TOO_FEW_COHORTS, Join
from accord.wire.versions import CohortRoot, transcript_of
from aggregator.attempt import ROUND_MESSAGES, Attempt
from aggregator.coordinator_values import (
    Aborted,
    Announce,
    Arrived,
    Closed,
    Effect,
    Event,
    Log,
    Model,
    Office,
    Presence,
    Recall,
    Settings,
    Start,
    Tick,
)
from aggregator.desk import Desk
from aggregator.memory import Memory
from aggregator.planner import Planner, Turn
from aggregator.round_values import Opened
from aggregator.standing import Standing

LETTERS_OF_AN_ATTEMPT = frozenset((TAG_OF[Join], *ROUND_MESSAGES))
UPLOAD_ROOM = 1_024
"""Bytes of a masked letter beside its vector."""


class Coordinator:
    """The rounds of one job.

    Args:
        office: the aggregator's key and documents.
        settings: windows and retries.
        model: the version to start from.
        layout: the model's trainable tensors.
        clock: wall time in seconds, for the certificates.
        prove: gives, for a signed checkpoint and the size of the log that a device saw last, the proof that the one
            begins with the other, or raises Refusal; None where the log is empty.

    `online` holds the devices whose birth stands: an attempt does not wait for others.
    """

    def __init__(
        self,
        *,
        office: Office,
        settings: Settings,
        model: Model,
        layout: Layout,
        clock: int,
        prove: Callable[[bytes, int], tuple[bytes, ...]] | None = None,
    ) -> None:
        self.office, self.settings, self.model = office, settings, model
        self.desk = Desk(office.key)
        self.round = 0
        self.transcript = bytes(32)
        self.online: set[str] = set()
        self._planner = Planner(
            office=office, settings=settings, layout=layout, desk=self.desk, clock=clock, prove=prove
        )
        self._memory = Memory()
        self._attempt: Attempt | None = None
        self._barred: frozenset[str] = frozenset()
        self._sitting_out: frozenset[str] = frozenset()

    def restore(self, *, number: int, transcript: bytes, model: Model) -> None:
        """Go on after a restart.

        Args:
            number: the last round that ended.
            transcript: after it.
            model: the version that stood then.
        """
        self.round, self.transcript, self.model = number, transcript, model

    def step(self, event: Event, now: float, clock: int) -> tuple[Effect, ...]:
        """Take one event and return what must be done, in order; what is wrong gives `Log` and changes nothing."""
        match event:
            case Start(request=request, online=online, seed=seed, checkpoint=checkpoint, revocations=revocations):
                if self._attempt is not None:
                    raise LocalProtocolError("a round is under way")
                self._barred, self._sitting_out, self.online = frozenset(), frozenset(), set(online)
                self._planner.begin(request, SeededEntropy(seed), checkpoint=checkpoint, revocations=revocations)
                self.round += 1
                return tuple(self._open(1, now, clock))
            case Arrived(device=device, data=data, standing=standing):
                try:
                    effects = self._answered(device, data, standing, now, clock)
                except Refusal as refusal:
                    return (Log(device=device, reason=refusal.reason, detail=refusal.detail),)
                except SignatureError as error:
                    return (Log(device=device, reason="BadSignature", detail=str(error)),)
                except CodecError as error:
                    return (Log(device=device, reason="BadMessage", detail=str(error)),)
            case Presence(device=device, online=here):
                (self.online.add if here else self.online.discard)(device)
                effects = () if self._attempt is None else self._attempt.presence(device, self.online, now)
            case Tick():
                effects = () if self._attempt is None else self._attempt.tick(self.online, now)
        effects = (*effects, *self._ended(now, clock))
        self._memory.sent(effects)
        return effects

    def heard(self, device: str, name: bytes) -> tuple[Effect, ...] | None:
        """Return what answers a letter that has arrived before, or None if it is new; `name` is its digest."""
        return self._memory.again(device, name)

    @property
    def busy(self) -> bool:
        """Whether a round is under way."""
        return self._attempt is not None

    @property
    def under_way(self) -> tuple[int, int] | None:
        """The round and attempt under way, or None."""
        return None if self._attempt is None else (self._attempt.plan.round, self._attempt.plan.attempt)

    def knows(self, device: str) -> bool:
        """Return whether a device was offered the attempt under way."""
        return self._attempt is not None and device in self._attempt.offered

    @property
    def profile(self) -> str:
        """The profile of the round under way or of the last one."""
        return self._planner.request.profile

    def next_time(self) -> float | None:
        """Return when a `Tick` can change something, or None."""
        return None if self._attempt is None else self._attempt.next_time(self.online)

    def expected_upload(self, letter: Envelope) -> int | None:
        """Return the largest letter in bytes that the sender of `letter` may send in pieces now.

        None means that it takes no part in the attempt under way.

        Raises:
            SignatureError: the letter is not the device's.
        """
        attempt = self._attempt
        if attempt is None or letter.sender not in attempt.of_device:
            return None
        letter.check(attempt.offered[letter.sender].identity)
        return attempt.form.largest + UPLOAD_ROOM

    def release(self, params: bytes, now_round: int) -> tuple[Effect, ...]:
        """Make `params` the next version and announce it."""
        self.model = Model(
            version=self.model.version + 1,
            params=params,
            digest=prg.digest(params),
            bundle_digest=self.model.bundle_digest,
            bundle_size=self.model.bundle_size,
        )
        message = Release(
            job=self.settings.job,
            version=self.model.version,
            round=now_round,
            bundle_digest=self.model.bundle_digest,
            bundle_size=self.model.bundle_size,
            params_digest=self.model.digest,
            params_size=len(params),
            transcript=self.transcript,
        )
        return (Announce(topic="model", data=self.desk.sealed(message, self.settings.job)),)

    def _answered(
        self, device: str, data: bytes, standing: Standing | None, now: float, clock: int
    ) -> tuple[Effect, ...]:
        """Take a letter; one that has been taken before is answered from memory."""
        name = prg.digest(data)
        before = self._memory.again(device, name)
        if before is not None:
            return before
        ticket = self._memory.ticket()
        effects = self._arrived(device, data, standing, now, clock)
        if not any(isinstance(effect, Log | Recall) for effect in effects):  # what was not taken is not remembered
            self._memory.took(device, name, ticket)
        return effects

    def _arrived(
        self, device: str, data: bytes, standing: Standing | None, now: float, clock: int
    ) -> tuple[Effect, ...]:
        letter = Envelope.decode(data)
        if letter.sender != device or letter.recipient != "aggregator":
            raise Refusal("ForeignTopic", f"{device} carries a letter of {letter.sender} to {letter.recipient}")
        attempt, asks = self._attempt, letter.tag in LETTERS_OF_AN_ATTEMPT
        if attempt is None:
            if asks:
                return (Recall(device=device, reason="NoRound", detail="no round is open"),)
            raise Refusal("NoRound", "no round is open")
        if letter.tag == TAG_OF[CheckIn]:
            return (*attempt.check_in(letter, clock, standing, now), *attempt.formed(self.online, now))
        if asks and device not in attempt.offered:
            return (Recall(device=device, reason="NotOffered", detail=f"{device} was not offered this attempt"),)
        return attempt.letter(letter, self.online, now)

    def _open(self, number: int, now: float, clock: int) -> list[Effect]:
        self._memory = Memory()
        turn = Turn(
            round=self.round,
            attempt=number,
            previous=self.transcript,
            model=self.model,
            barred=self._barred,
            sitting_out=self._sitting_out,
        )
        self._attempt, effects = self._planner.attempt(turn, now, clock)
        return effects

    def _ended(self, now: float, clock: int) -> list[Effect]:
        """Close the round or try again, once the attempt has ended."""
        attempt = self._attempt
        if attempt is None or not attempt.ended:
            return []
        self._attempt = None
        return self._close(attempt) if attempt.opened else self._abort(attempt, now, clock)

    def _close(self, attempt: Attempt) -> list[Effect]:
        """Answer every member and tell the sums."""
        plan = attempt.plan
        cohorts = tuple(
            CohortRoot(name=held.state.name, root=held.root, survivors=held.state.survivors) for held in attempt.opened
        )
        previous = self.transcript
        self.transcript = transcript_of(previous, attempt.plan_digest, cohorts)
        ends = [held.ended for held in attempt.opened if isinstance(held.ended, Opened)]
        included = {device for end in ends for device in end.included}
        closed = Closed(
            round=plan.round,
            attempt=plan.attempt,
            plan_digest=attempt.plan_digest,
            previous=previous,
            transcript=self.transcript,
            cohorts=cohorts,
            totals=tuple(held.total for held in attempt.opened if held.total is not None),
            included=tuple(sorted(included)),
            dropped=tuple(sorted(set(attempt.offered) - included)),
            recovered=tuple(sorted(device for end in ends for device in end.recovered)),
            lost_cohorts=tuple(failed.reason for failed in attempt.failed),
        )
        unused = TOO_FEW_COHORTS if len(closed.totals) < self._planner.request.fewest_cohorts else ""
        results = attempt.results(self.transcript, unused)
        return [*results, self._outcome(plan, "closed", unused, len(included)), closed]

    def _abort(self, attempt: Attempt, now: float, clock: int) -> list[Effect]:
        """Tell why, bar who dealt wrong shares, and try again unless this was the last attempt."""
        plan, failed = attempt.plan, attempt.failed
        self._barred |= {failure.device for failure in failed if failure.device}
        self._sitting_out |= attempt.sitting_out
        reason, detail = failed[0].reason, failed[0].detail
        final = plan.attempt >= self.settings.max_attempts
        effects: list[Effect] = [
            *attempt.results(self.transcript),
            self._outcome(plan, "aborted", reason, 0),
            Aborted(round=plan.round, attempt=plan.attempt, reason=reason, detail=detail, final=final),
        ]
        return effects if final else [*effects, *self._open(plan.attempt + 1, now, clock)]

    def _outcome(self, plan: Plan, status: str, reason: str, included: int) -> Announce:
        message = Outcome(
            job=plan.job,
            round=plan.round,
            attempt=plan.attempt,
            status=status,
            reason=reason,
            included=included,
            transcript=self.transcript,
        )
        return Announce(topic="result", data=self.desk.sealed(message, plan.job))
