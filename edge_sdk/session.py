"""The device's side of a round: a transition table and a session that takes events and gives effects.

Sans-IO: whoever drives it carries out the effects in their order, so what is written before it is sent is written
before it is sent. Every message of the aggregator is verified here, and refused by name.
See docs/protocol.md, section 10.
"""

from collections.abc import Callable, Mapping

from accord.entropy import Entropy
from accord.errors import AccordError, CodecError, Refusal, SignatureError
from accord.tensors import Layout
from accord.update import compression
from accord.wire.check_in import Later
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, TAGS, Offer, Opening, Roles
from accord.wire.secure_sum import Quorum, Result, Roster, Shares, Survivors
from edge_sdk.checking_in import CheckingIn
from edge_sdk.residual import Residual
from edge_sdk.resuming import Resuming
from edge_sdk.roles import RolesInForce
from edge_sdk.saved import EVERY_FILE, Saved
from edge_sdk.session_state import SessionState
from edge_sdk.session_values import (
    Arrived,
    Effect,
    Event,
    Fetched,
    Forget,
    GaveUp,
    Heard,
    Identity,
    Ledger,
    Limits,
    Refused,
    Stage,
    Worked,
)
from edge_sdk.summing import Summing
from edge_sdk.unsettled import Unsettled


class Session:
    """One device in one job.

    Args:
        job: the only one whose openings it takes.
        identity: who we are and whom we believe.
        limits: what we refuse whatever a plan says.
        layout: the trainable tensors of the bundle that we hold.
        bundle_digest: the digest of that bundle, computed by ourselves.
        entropy: each attempt's seed is drawn from it.
        ledger: how far we had gone before.
        now: aggregator time in seconds, for the roles document.
        birth: which start of this device's process this is.
        residual: its files by name, as they were kept.
        compressors: that this device has, sorted; those that are installed if not given.

    Raises:
        Refusal: the roles document does not hold.
    """

    def __init__(
        self,
        *,
        job: str,
        identity: Identity,
        limits: Limits,
        layout: Layout,
        bundle_digest: bytes,
        entropy: Entropy,
        ledger: Ledger,
        now: int,
        birth: int = 1,
        residual: Mapping[str, bytes] | None = None,
        compressors: tuple[str, ...] | None = None,
    ) -> None:
        in_force = RolesInForce(identity, now=now, seen=ledger.roles_version)
        left = Residual(job, bundle_digest, layout.size, residual)
        state = SessionState(job=job, identity=identity, limits=limits, in_force=in_force, ledger=ledger, residual=left)
        unsettled = Unsettled(state)
        self.layout = layout
        """The model's trainable tensors."""
        self._state, self._unsettled, self._summing = state, unsettled, Summing(state, unsettled, layout)
        self._checking_in = CheckingIn(
            state,
            unsettled,
            layout=layout,
            bundle_digest=bundle_digest,
            entropy=entropy,
            birth=birth,
            compressors=compression.here() if compressors is None else compressors,
        )
        summing = self._summing
        self._handlers: Mapping[str, Callable[[Envelope], tuple[Effect, ...]]] = {
            TAG_OF[Opening]: self._checking_in.opening,
            TAG_OF[Later]: self._checking_in.later,
            TAG_OF[Offer]: self._checking_in.plan,
            TAG_OF[Roster]: summing.roster,
            TAG_OF[Shares]: summing.shares,
            TAG_OF[Survivors]: summing.survivors,
            TAG_OF[Quorum]: summing.quorum,
            TAG_OF[Result]: summing.result,
        }

    @property
    def identity(self) -> Identity:
        """Who we are and whom we believe."""
        return self._state.identity

    @property
    def stage(self) -> Stage:
        """Where we stand in an attempt."""
        return self._state.stage

    @property
    def ledger(self) -> Ledger:
        """How far we have gone."""
        return self._state.ledger

    @property
    def last(self) -> bytes:
        """The letter that the aggregator has not answered yet; empty if there is none."""
        return self._state.last

    @property
    def roles(self) -> Roles:
        """The roles document in force."""
        return self._state.roles

    @property
    def question(self) -> bytes:
        """The letter that asks for a RESULT that has not come; empty if none is missing."""
        return self._unsettled.question()

    def take_up(self, identity: Identity) -> None:
        """Go on under another certificate, in what is sent from here on; an attempt under way keeps its own."""
        self._state.identity = identity

    def check_aggregator(self, letter: Envelope) -> None:
        """Check that `letter` is the aggregator's and meant for this device.

        Raises:
            SignatureError: another key signed it.
            Refusal: `NotForUs`.
        """
        letter.check(self._state.roles.aggregator)
        if letter.recipient != self.identity.device:
            raise Refusal("NotForUs", f"{letter.tag} is for {letter.recipient}")

    def step(self, event: Event) -> tuple[Effect, ...]:
        """Take one event and return what must be done, in order.

        A message that is refused for what everybody can see changes nothing; one on which secrets were used before it
        was refused ends the attempt for this device.
        """
        try:
            return (*self._handled(event), *self._state.turned())
        except (Refusal, SignatureError, CodecError) as error:
            return (Refused.of(error),)

    def resume(self, saved: Saved) -> tuple[Effect, ...]:
        """Come back into the attempt whose files were found, in a session that has just been made.

        Files that do not fit together are given up by name: this device then waits for the next opening.
        """
        left = self._state.residual.tidied()  # now: a plan that is gone through again has its effects passed over
        try:
            effects = Resuming(self._state, self._checking_in, self._summing, self._arrived).resume(saved)
            return (*left, *effects, *self._resumed_before(saved), *self._still_asked())
        except AccordError as error:
            state = self._state
            state.stage, state.last, state.attempt = Stage.IDLE, b"", None
            return (
                *left,
                *state.residual.only(()),
                Forget(names=EVERY_FILE),
                Refused(reason="CannotResume", detail=str(error)),
            )

    def _still_asked(self) -> tuple[Effect, ...]:
        """Give up what is in flight of attempts whose files are gone."""
        attempts = (self._state.attempt, self._unsettled.attempt)
        return self._state.residual.only(attempt.second for attempt in attempts if attempt is not None)

    def erase_residual(self) -> tuple[Effect, ...]:
        """Forget what updates have left out, as the examples that it came from go."""
        state = self._state
        working = state.attempt is not None and state.stage is Stage.WORKING
        return state.residual.erase(state.current().second if working else b"")

    def _resumed_before(self, saved: Saved) -> tuple[Effect, ...]:
        """Ask for the RESULT of the attempt before, unless it is another job's, or the attempt was not left yet."""
        if saved.unsettled is None:
            return ()
        asked, current = self._unsettled.found(saved.unsettled), self._state.attempt
        here = current is not None and self._unsettled.of(current.second) is not None
        if here:
            return self._unsettled.taken_back()
        return asked if self._unsettled.ours else self._unsettled.drop()

    def _handled(self, event: Event) -> tuple[Effect, ...]:
        match event:
            case Arrived(data=data):
                return self._arrived(data)
            case Fetched():
                return self._checking_in.fetched(event)
            case Worked(found=found):
                return self._summing.worked(found)
            case GaveUp(reason=reason, why=why):
                return self._summing.gave_up(reason, why)
            case Heard(data=data):
                self._state.in_force.take(data)
                return ()

    def _arrived(self, data: bytes) -> tuple[Effect, ...]:
        letter = Envelope.decode(data)
        self._state.raw = data
        if letter.tag not in TAGS or letter.sender != "aggregator":
            raise Refusal("Foreign", f"{letter.tag} from {letter.sender}")
        if letter.tag == TAG_OF[Opening]:
            self._state.in_force.check_opening(letter)
        else:
            letter.check(self._state.roles.aggregator)
        if letter.tag not in self._handlers:
            raise Refusal("Foreign", f"{letter.tag} is nothing that a session acts on")
        return self._handlers[letter.tag](letter)
