"""How a device comes into an attempt: an opening, the objects that it names, CHECK-IN, and the plan or a refusal."""

import dataclasses

from accord.entropy import Entropy
from accord.errors import Refusal
from accord.plan import Plan
from accord.secagg import client
from accord.secagg.authority import Authority
from accord.secagg.cohort import first_context
from accord.tensors import Layout
from accord.update.pipeline import Form
from accord.wire.check_in import BARRED, NO_COMPRESSOR, CheckIn, Later
from accord.wire.envelope import NO_CONTEXT, Envelope
from accord.wire.messages import Offer, Opening, opened
from edge_sdk import acceptance
from edge_sdk.attempt import Attempt
from edge_sdk.saved import Joined
from edge_sdk.session_state import SessionState
from edge_sdk.session_values import Charge, Effect, Fetch, Fetched, Keep, Refused
from edge_sdk.unsettled import Unsettled


class CheckingIn:
    """One session's; every method may refuse by name.

    Args:
        state: the session's.
        unsettled: the attempt before.
        layout: the trainable tensors of the bundle that we hold.
        bundle_digest: its digest, computed by ourselves.
        entropy: each attempt's seed is drawn from it.
        birth: which start of this device's process this is.
        compressors: that this device has, sorted.
    """

    def __init__(
        self,
        state: SessionState,
        unsettled: Unsettled,
        *,
        layout: Layout,
        bundle_digest: bytes,
        entropy: Entropy,
        birth: int,
        compressors: tuple[str, ...],
    ) -> None:
        self._state, self._unsettled, self._layout, self._bundle = state, unsettled, layout, bundle_digest
        self._entropy, self._birth, self._compressors = entropy, birth, compressors
        self._authority: Authority | None = None

    def opening(self, letter: Envelope) -> tuple[Effect, ...]:
        """Leave what is under way for a later attempt, and fetch what it needs."""
        opening, data = opened(letter, Opening), self._state.raw
        if (opening.job, letter.recipient) != (self._state.job, self._state.job):
            raise Refusal("ForeignJob", f"an opening of {opening.job}, and this device takes part in {self._state.job}")
        current, last = self._state.attempt, (self._state.ledger.round, self._state.ledger.attempt)
        if (opening.round, opening.attempt) == last or (current is not None and current.opening == opening):
            return ()  # brokers hand the last announcement to everybody who comes back
        if opening.round == self._state.ledger.sat_out:
            return ()  # the same rows, model and plan would fail again, and each try is charged
        if (opening.round, opening.attempt) < last:
            raise Refusal("OldRound", f"round {opening.round}, attempt {opening.attempt} is not after the last one")
        if opening.round <= self._state.ledger.closed_round:
            raise Refusal("RoundClosed", f"another attempt of round {opening.round}, whose sum this device saw closed")
        if opening.bundle_digest != self._bundle:
            raise Refusal("ForeignBundle", "the opening names a bundle that this device does not hold")
        acceptance.check_version(opening, self._state.ledger)
        self._state.allowed("opening")
        over = () if current is None else self._unsettled.leave(current)
        turned = self._state.turned()
        self._state.move("opening")
        self._state.attempt, self._state.last = Attempt(opening, data), b""
        return (
            *over,
            *turned,
            Fetch(
                params_digest=opening.params_digest,
                params_size=opening.params_size,
                bundle_digest=opening.bundle_digest,
                bundle_size=opening.bundle_size,
            ),
        )

    def fetched(self, event: Fetched) -> tuple[Effect, ...]:
        """Say what we hold, once it is written which version that is."""
        attempt = self._state.current()
        opening = attempt.opening
        if (event.params_digest, event.bundle_digest) != (opening.params_digest, opening.bundle_digest):
            raise Refusal("OutOfOrder", "other objects were fetched than the opening names")
        attempt.seed = self._entropy.child("attempt", opening.round, opening.attempt)(32)
        data, before = self.check_in(), self._state.ledger
        self._state.ledger = dataclasses.replace(before, version=opening.base_version, params=opening.params_digest)
        written = () if self._state.ledger == before else (Charge(ledger=self._state.ledger),)
        return (*written, self._state.sent(data))

    def check_in(self) -> bytes:
        """Draw the nonce from the attempt's seed and return the sealed CHECK-IN."""
        attempt = self._state.current()
        opening = attempt.opening
        self._state.move("fetched")
        attempt.nonce = attempt.entropy("nonce")(16)
        attempt.certificate = attempt.certificate or self._state.identity.certificate
        message = CheckIn(
            nonce=attempt.nonce,
            job=opening.job,
            round=opening.round,
            attempt=opening.attempt,
            base_version=opening.base_version,
            params_digest=opening.params_digest,
            roles_version=self._state.roles.version,
            certificate=attempt.certificate,
            log_size=acceptance.log_head(self._state.ledger.checkpoint).size,
            sequence=self._state.ledger.participations,
            birth=self._birth,
            compressors=self._compressors,
        )
        return self._state.sealed(message, NO_CONTEXT)

    def later(self, letter: Envelope) -> tuple[Effect, ...]:
        """Wait for another opening, as the aggregator asks."""
        attempt = self._state.current()
        self._state.bound(letter, NO_CONTEXT, self._state.identity.device)
        later = opened(letter, Later)
        if later.nonce != attempt.nonce:
            raise Refusal("StaleNonce", "the answer is not to this device's last check-in")
        self._state.move("later")
        self._state.attempt, self._state.last = None, b""
        if later.reason.startswith(NO_COMPRESSOR):
            return (Refused.of(acceptance.no_compressor(later.reason.removeprefix(NO_COMPRESSOR + ": "))),)
        return (Refused(reason="Barred", detail=later.reason),) if later.reason.startswith(BARRED) else ()

    def plan(self, letter: Envelope) -> tuple[Effect, ...]:
        """Join under a plan that this device accepts, once that is written."""
        self._state.allowed("plan")
        attempt = self._state.current()
        self._state.bound(letter, NO_CONTEXT, self._state.identity.device)
        offer = opened(letter, Offer)
        if offer.nonce != attempt.nonce:
            raise Refusal("StaleNonce", "the plan does not answer this device's last check-in")
        self._state.in_force.now = max(self._state.in_force.now, offer.now)
        plan = Plan.decode(offer.plan)
        opening = attempt.opening
        acceptance.check(
            plan,
            opening,
            offer.now,
            identity=self._state.identity,
            limits=self._state.limits,
            ledger=self._state.ledger,
            roles=self._state.roles,
            consistency=offer.consistency,
        )
        acceptance.check_update(Form(plan, self._layout, offer.support), self._state.limits, self._compressors)
        authority = acceptance.authority(plan, offer, self._state.roles, self._state.ledger, self._authority)
        self._authority = authority
        attempt.plan, attempt.authority, attempt.support = plan, authority, offer.support
        attempt.context = first_context(offer.plan, opening.bundle_digest, opening.params_digest)
        attempt.join = client.Joining(
            self._state.identity.device,
            self._state.identity.key,
            attempt.certificate,
            attempt.context,
            attempt.entropy("secagg"),
            suite=plan.keys,
        )
        self._state.move("plan")
        self._state.ledger = dataclasses.replace(
            self._state.ledger,
            round=plan.round,
            attempt=plan.attempt,
            participations=self._state.ledger.participations + 1,
            roles_version=self._state.roles.version,
            revocations_version=authority.revocations.version,
            checkpoint=plan.checkpoint,
        )
        dropped = self._state.residual.follows(plan.update) if plan.purpose == "train" else ()
        joined = Joined(
            seed=attempt.seed,
            certificate=attempt.certificate,
            opening=attempt.opening_letter,
            offer=self._state.raw,
        )
        return (
            *dropped,
            Keep(name="joined", data=joined.encode()),
            Charge(ledger=self._state.ledger),
            self._state.sent(attempt.join.letter.encode()),
        )
