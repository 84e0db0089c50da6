"""How a device takes its part in the secure sum: from ROSTER to RESULT. See docs/protocol.md, section 7."""

import dataclasses

from accord.errors import AccordError, LocalProtocolError, Refusal, RemoteProtocolError
from accord.plan import STRICT
from accord.secagg import client, unmasked
from accord.tensors import Layout
from accord.update import packing
from accord.update.pipeline import Contribution, Form
from accord.wire.check_in import FAILED, Withdraw
from accord.wire.envelope import Envelope
from accord.wire.messages import opened
from accord.wire.secure_sum import Consistency, Masked, Quorum, Result, Roster, Shares, Survivors, Unmask
from edge_sdk.attempt import Attempt
from edge_sdk.saved import SECRET_FILES, AnsweredOnce, ConfirmedOnce, MaskedOnce, Shared, WithdrewOnce
from edge_sdk.session_state import SessionState
from edge_sdk.session_values import TRANSITIONS, Charge, Effect, Finished, Forget, Keep, Refused, Stage, Work
from edge_sdk.unsettled import SENT, Unsettled


class Summing:
    """One session's; every method may refuse by name.

    Args:
        state: the session's.
        unsettled: the attempt before.
        layout: the trainable tensors of the bundle that we hold.
    """

    def __init__(self, state: SessionState, unsettled: Unsettled, layout: Layout) -> None:
        self._state, self._unsettled, self._layout = state, unsettled, layout
        self._settled = b""
        """The context of the last RESULT that was taken: the same one may come twice."""

    def roster(self, letter: Envelope) -> tuple[Effect, ...]:
        """Share among the cohort that ROSTER names; in profile `off`, begin the work."""
        attempt = self._state.current()
        plan, join = attempt.plan, attempt.join
        if plan is None or join is None or attempt.authority is None:
            raise Refusal("OutOfOrder", f"roster while {self._state.stage.value}")
        roster = opened(letter, Roster)
        self._state.bound(letter, attempt.context, roster.cohort, self._state.identity.device)
        if plan.profile == unmasked.PROFILE:
            self._state.allowed("unmasked roster")
            attempt.cohort = roster.cohort
            attempt.second = unmasked.second_context(attempt.context, roster.cohort)
            self._state.move("unmasked roster")
            self._state.last = b""
            shared = Shared(roster=self._state.raw, letter=b"")
            return (Keep(name="shared", data=shared.encode()), *self.work())
        sharing = join.roster(
            roster,
            attempt.authority,
            profile=plan.profile,
            floor=max(plan.cohort_floor, self._state.limits.smallest_cohort),
            cap=plan.cohort_cap,
            rule=plan.graph,
            vouched=self._state.limits.smallest_cohort,
            least_threshold=self._state.limits.smallest_threshold,
            kept=attempt.kept_share,
        )
        self._state.allowed("roster")
        self._state.move("roster")
        attempt.sharing, attempt.cohort, attempt.second = sharing, roster.cohort, sharing.cohort.context
        data = self._state.sealed(sharing.message, attempt.second)
        shared = Shared(roster=self._state.raw, letter=data)
        return (Keep(name="shared", data=shared.encode()), self._state.sent(data))

    def shares(self, letter: Envelope) -> tuple[Effect, ...]:
        """Open what the others dealt, and begin the work."""
        attempt = self._state.current()
        ours = (letter.context, letter.recipient) == (attempt.second, self._state.identity.device)
        if attempt.masking is not None and ours and self._state.raw != attempt.shares_letter:
            raise Refusal("SharesChanged", "other shares than those that this device has opened in this attempt")
        self._state.allowed("shares")
        if attempt.sharing is None:
            raise LocalProtocolError("a device that shared has a sharing stage")
        self._state.bound(letter, attempt.second, self._state.identity.device)
        attempt.masking = attempt.sharing.shares(opened(letter, Shares))
        self._state.move("shares")
        attempt.shares_letter, self._state.last = self._state.raw, b""
        return self.work()

    def work(self) -> tuple[Effect, ...]:
        """Return the effect that asks for the plan's work."""
        attempt = self._state.current()
        if attempt.plan is None:
            raise LocalProtocolError("a device that joined has a plan")
        return (Work(plan=attempt.plan, params_size=attempt.opening.params_size),)

    def worked(self, found: Contribution) -> tuple[Effect, ...]:
        """Mask what was found, once."""
        self._state.allowed("worked")
        attempt = self._state.current()
        plan = attempt.plan
        if plan is None or attempt.join is None:
            raise LocalProtocolError("a device that worked has a plan")
        seed, residual = attempt.entropy("rounding")(32), self._state.residual
        try:
            before = residual.base(attempt.second) if plan.update.feedback else None
            form = Form(plan, self._layout, attempt.support)
            coded = form.coded(found, seed, before)
        except RemoteProtocolError:
            raise
        except AccordError as error:
            return self.gave_up(str(error))
        vector, bits = coded.vector, plan.fixed.modulus_bits
        if attempt.masking is not None:
            attempt.unmasking, masked, dealers = attempt.masking.mask(vector, bits)
            message = Masked(dealers=dealers, vector=packing.pack(masked, bits))
        else:
            pair, device, packed = attempt.join.sealing, self._state.identity.device, form.pack(coded)
            data = unmasked.sealed_update(pair, plan.seal_key, attempt.second, device, packed)
            message = Masked(dealers=b"\x00", vector=data)
        self._state.move("worked")
        data = self._state.sealed(message, attempt.second)
        masked_once = MaskedOnce(shares=attempt.shares_letter, letter=data)
        flight = () if coded.left is None else residual.sends(attempt.second, coded.left)
        return (*flight, Keep(name="masked", data=masked_once.encode()), self._state.sent(data, len(message.vector)))

    def gave_up(self, reason: str, why: str = FAILED) -> tuple[Effect, ...]:
        """Leave the attempt, as the work failed, and tell the aggregator why in a word.

        Attempts of the same round that follow are left alone where they would fail alike.
        """
        attempt = self._state.current()
        self._state.move("gave up")
        charged: tuple[Effect, ...] = ()
        if why != FAILED:
            self._state.ledger = dataclasses.replace(self._state.ledger, sat_out=attempt.opening.round)
            charged = (Charge(ledger=self._state.ledger),)
        data = self._state.sealed(Withdraw(reason=why), attempt.second)
        attempt.forget_secrets()
        once = WithdrewOnce(opening=attempt.opening_letter, context=attempt.second, letter=data)
        return (
            *charged,
            *self._state.residual.settled(attempt.second, included=False),
            Keep(name="withdrawn", data=once.encode()),
            Forget(names=SECRET_FILES),  # before it is told: no vector can follow it, not even after a restart
            self._state.sent(data),
            Refused(reason="TrainingFailed", detail=reason),
        )

    def survivors(self, letter: Envelope) -> tuple[Effect, ...]:
        """Answer once, with one share for each dealer; in profile `strict`, sign the set and wait for a quorum."""
        attempt, message = self._state.current(), opened(letter, Survivors)
        if self._state.stage is Stage.CONFIRMED:
            return self._survivors_again(attempt, letter, message)
        again = attempt.answered is not None and letter.context == attempt.second
        if again and message.survivors != attempt.survivors:
            raise Refusal("AnsweredBefore", "another survivor set than the one that this device has answered for")
        self._state.allowed("survivors")
        if attempt.plan is None:
            raise LocalProtocolError("a device that masked has a plan")
        self._state.bound(letter, attempt.second, attempt.cohort)
        if attempt.unmasking is not None and attempt.plan.profile == STRICT:
            attempt.confirmed, confirmation = attempt.unmasking.confirm(message)
            return self._signed(attempt, confirmation)
        if attempt.unmasking is not None:
            attempt.answered, answer = attempt.unmasking.survivors(message, attempt.plan.seal_key)
            attempt.survivors = message.survivors
        else:
            answer = Unmask(sealed=b"")
        self._state.move("survivors")
        return self._answers(attempt, answer)

    def _survivors_again(self, attempt: Attempt, letter: Envelope, message: Survivors) -> tuple[Effect, ...]:
        """Pass over the set that was signed, and refuse another one: two of them are how a device is isolated."""
        self._state.bound(letter, attempt.second, attempt.cohort)
        if message.survivors != attempt.survivors:
            raise Refusal("SurvivorsChanged", "another survivor set was signed in this attempt before")
        return ()

    def _signed(self, attempt: Attempt, confirmation: Consistency) -> tuple[Effect, ...]:
        """Send CONSISTENCY once it is written; RESULT will be held against the set that it names."""
        self._state.move("survivors to confirm")
        attempt.survivors = confirmation.survivors
        attempt.answered = client.Answered(confirmation.survivors)
        data = self._state.sealed(confirmation, attempt.second)
        once = ConfirmedOnce(survivors=self._state.raw, letter=data)
        return (Keep(name="confirmed", data=once.encode()), self._state.sent(data))

    def quorum(self, letter: Envelope) -> tuple[Effect, ...]:
        """Answer once, as enough members have signed the survivor set that this device has signed."""
        self._state.allowed("quorum")
        attempt = self._state.current()
        if attempt.plan is None or attempt.confirmed is None:
            raise LocalProtocolError("a device that confirmed has a plan and a stage that waits for a quorum")
        self._state.bound(letter, attempt.second, attempt.cohort)
        attempt.answered, answer = attempt.confirmed.quorum(opened(letter, Quorum), attempt.plan.seal_key)
        self._state.move("quorum")
        return self._answers(attempt, answer)

    def _answers(self, attempt: Attempt, answer: Unmask) -> tuple[Effect, ...]:
        """Send UNMASK once it is written and the secrets are deleted."""
        data = self._state.sealed(answer, attempt.second)
        attempt.forget_secrets()
        once = AnsweredOnce(
            opening=attempt.opening_letter,
            context=attempt.second,
            survivors=attempt.survivors,
            letter=data,
        )
        return (Keep(name="answered", data=once.encode()), Forget(names=SECRET_FILES), self._state.sent(data))

    def result(self, letter: Envelope) -> tuple[Effect, ...]:
        """Take how the attempt ended, or the one before; told before the files go, a power cut can't hide it."""
        if letter.context == self._settled:
            return ()
        before = self._unsettled.of(letter.context)
        if before is not None:
            self._state.bound(letter, before.second, self._state.identity.device)
            return (*self._told(before, letter), *self._unsettled.drop(), *self._closed_meanwhile())
        self._state.allowed("result")
        attempt = self._state.current()
        self._state.bound(letter, attempt.second or attempt.context, self._state.identity.device)
        told = self._told(attempt, letter)
        self._state.move("result")
        return (*told, self._state.ends(), *self._unsettled.drop())

    def _closed_meanwhile(self) -> tuple[Effect, ...]:
        """Leave another attempt of a round whose sum has turned out to be closed, before it gives a second sum."""
        attempt, closed = self._state.attempt, self._state.ledger.closed_round
        if attempt is None or attempt.opening.round > closed or "round closed" not in TRANSITIONS[self._state.stage]:
            return ()
        left = self._unsettled.leave(attempt)
        self._state.move("round closed")
        detail = f"attempt {attempt.opening.attempt} of round {closed} is left: the sum of one before was closed"
        return (*left, Refused(reason="RoundClosed", detail=detail))

    def _told(self, attempt: Attempt, letter: Envelope) -> tuple[Effect, ...]:
        result = opened(letter, Result)
        self._settled = letter.context
        refused: tuple[Effect, ...] = ()
        try:
            included = self._included(attempt, result)
            moved = included and not result.unused
        except Refusal as refusal:
            included = moved = self._sent(attempt)
            refused = (Refused(reason=refusal.reason, detail=refusal.detail),)
        opening, ledger = attempt.opening, self._state.ledger
        finished = Finished(round=opening.round, attempt=opening.attempt, status=result.status, included=included)
        kept = self._state.residual.settled(attempt.second, included=moved)
        if result.status != "closed" or opening.round <= ledger.closed_round:
            return (*refused, finished, *kept)
        self._state.ledger = dataclasses.replace(ledger, closed_round=opening.round, transcript=result.transcript)
        return (*refused, finished, *kept, Charge(ledger=self._state.ledger))

    def _included(self, attempt: Attempt, result: Result) -> bool:
        if attempt.answered is not None:
            return attempt.answered.result(result)
        if result.included and (result.status != "closed" or not self._sent(attempt)):
            raise Refusal("ResultContradicts", "it includes a vector that this device never sent, or an aborted sum")
        return result.included

    def _sent(self, attempt: Attempt) -> bool:
        """Return whether the vector of an attempt may have left this device."""
        return attempt is not self._state.attempt or self._state.stage in SENT
