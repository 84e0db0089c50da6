"""The device's side of a round: a transition table and a session that takes events and gives effects.

Sans-IO: whoever drives it carries out the effects in their order, so what is written before it is sent is written
before it is sent. Every message of the aggregator is verified here, and refused by name.
See docs/protocol.md, section 10.
"""

import dataclasses
from collections.abc import Callable, Mapping

from accord.entropy import Entropy
from accord.errors import AccordError, CodecError, LocalProtocolError, Refusal, RemoteProtocolError, SignatureError
from accord.plan import Plan
from accord.records import Record
from accord.secagg import client, keys, unmasked
from accord.secagg.authority import Authority, trusted_roles
from accord.secagg.cohort import first_context
from accord.tensors import Layout
from accord.update import packing
from accord.update.pipeline import Contribution, Form
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import (
    TAG_OF,
    TAGS,
    CheckIn,
    Later,
    Masked,
    Offer,
    Opening,
    Result,
    Roster,
    Shares,
    Survivors,
    Unmask,
    opened,
)
from edge_sdk import acceptance
from edge_sdk.session_values import (
    TRANSITIONS,
    Arrived,
    Charge,
    Effect,
    Event,
    Fetch,
    Fetched,
    Finished,
    GaveUp,
    Identity,
    Keep,
    Ledger,
    Limits,
    Refused,
    Send,
    Stage,
    Work,
    Worked,
)


@dataclasses.dataclass
class _Attempt:
    """What one attempt has gathered so far; secrets live in the secagg stage and go with it."""

    opening: Opening
    nonce: bytes = b""
    plan: Plan | None = None
    context: bytes = b""
    cohort: str = ""
    second: bytes = b""
    authority: Authority | None = None
    join: client.Joining | None = None
    sharing: client.Sharing | None = None
    masking: client.Masking | None = None
    unmasking: client.Unmasking | None = None
    answered: client.Answered | None = None


class Session:
    """One device in one job.

    Args:
        identity: who we are and whom we believe.
        limits: what we refuse whatever a plan says.
        layout: the trainable tensors of the bundle that we hold.
        bundle_digest: the digest of that bundle, computed by ourselves.
        entropy: keys, nonces and rounding come from it.
        ledger: how far we had gone before.
        now: aggregator time in seconds, for the roles document.

    Raises:
        Refusal: the roles document does not hold.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        limits: Limits,
        layout: Layout,
        bundle_digest: bytes,
        entropy: Entropy,
        ledger: Ledger,
        now: int,
    ) -> None:
        self.identity, self.limits, self.ledger = identity, limits, ledger
        self.stage = Stage.IDLE
        self._layout, self._bundle, self._entropy = layout, bundle_digest, entropy
        self._roles = trusted_roles(identity.roles, identity.root, identity.tenant, now=now, seen=ledger.roles_version)
        self._attempt: _Attempt | None = None
        self._authority: Authority | None = None
        self._checkpoint = b""

    def check_aggregator(self, letter: Envelope) -> None:
        """Check that `letter` is the aggregator's and meant for this device.

        Raises:
            SignatureError: another key signed it.
            Refusal: `NotForUs`.
        """
        letter.check(self._roles.aggregator)
        if letter.recipient != self.identity.device:
            raise Refusal("NotForUs", f"{letter.tag} is for {letter.recipient}")

    def step(self, event: Event) -> tuple[Effect, ...]:
        """Take one event and return what must be done, in order.

        A message that is refused before it binds us changes nothing; a lie within an attempt ends it for this device.
        """
        try:
            return self._handled(event)
        except Refusal as refusal:
            return (Refused(reason=refusal.reason, detail=refusal.detail),)
        except SignatureError as error:
            return (Refused(reason="BadSignature", detail=str(error)),)
        except CodecError as error:
            return (Refused(reason="BadMessage", detail=str(error)),)

    def _handled(self, event: Event) -> tuple[Effect, ...]:
        match event:
            case Arrived(data=data):
                return self._arrived(data)
            case Fetched():
                return self._fetched(event)
            case Worked(found=found):
                return self._worked(found)
            case GaveUp(reason=reason):
                return self._gave_up(reason)

    def _move(self, event: str) -> None:
        following = TRANSITIONS[self.stage].get(event)
        if following is None:
            raise Refusal("OutOfOrder", f"{event} while {self.stage.value}")
        self.stage = following

    def _allowed(self, event: str) -> None:
        if event not in TRANSITIONS[self.stage]:
            raise Refusal("OutOfOrder", f"{event} while {self.stage.value}")

    def _sealed(self, message: Record, context: bytes) -> bytes:
        return seal(
            TAG_OF[type(message)],
            message.encode(),
            key=self.identity.key,
            sender=self.identity.device,
            recipient="aggregator",
            context=context,
        ).encode()

    def _arrived(self, data: bytes) -> tuple[Effect, ...]:
        letter = Envelope.decode(data)
        if letter.tag not in TAGS or letter.sender != "aggregator":
            raise Refusal("Foreign", f"{letter.tag} from {letter.sender}")
        letter.check(self._roles.aggregator)
        if letter.tag == TAG_OF[Opening]:
            return self._opening(opened(letter, Opening))
        handlers: Mapping[str, Callable[[Envelope], tuple[Effect, ...]]] = {
            TAG_OF[Later]: self._later,
            TAG_OF[Offer]: self._plan,
            TAG_OF[Roster]: self._roster,
            TAG_OF[Shares]: self._shares,
            TAG_OF[Survivors]: self._survivors,
            TAG_OF[Result]: self._result,
        }
        if letter.tag not in handlers:
            raise Refusal("Foreign", f"{letter.tag} is nothing that a session acts on")
        return handlers[letter.tag](letter)

    def _current(self) -> _Attempt:
        if self._attempt is None:
            raise Refusal("OutOfOrder", f"no attempt is under way while {self.stage.value}")
        return self._attempt

    def _bound(self, letter: Envelope, context: bytes, *recipients: str) -> None:
        """Refuse a letter that is not bound to this attempt or not meant for us."""
        if letter.context != context:
            raise Refusal("WrongContext", f"{letter.tag} belongs to another round, attempt or cohort")
        if letter.recipient not in recipients:
            raise Refusal("NotForUs", f"{letter.tag} is for {letter.recipient}")

    def _opening(self, opening: Opening) -> tuple[Effect, ...]:
        if (opening.round, opening.attempt) <= (self.ledger.round, self.ledger.attempt):
            raise Refusal("OldRound", f"round {opening.round}, attempt {opening.attempt} is not after the last one")
        current = self._attempt
        if current is not None and current.opening == opening:
            return ()
        if opening.bundle_digest != self._bundle:
            raise Refusal("ForeignBundle", "the opening names a bundle that this device does not hold")
        self._move("opening")
        self._attempt = _Attempt(opening)
        return (
            Fetch(
                params_digest=opening.params_digest,
                params_size=opening.params_size,
                bundle_digest=opening.bundle_digest,
                bundle_size=opening.bundle_size,
            ),
        )

    def _fetched(self, event: Fetched) -> tuple[Effect, ...]:
        attempt = self._current()
        opening = attempt.opening
        if (event.params_digest, event.bundle_digest) != (opening.params_digest, opening.bundle_digest):
            raise Refusal("OutOfOrder", "other objects were fetched than the opening names")
        self._move("fetched")
        attempt.nonce = self._entropy.child("nonce", opening.round, opening.attempt)(16)
        message = CheckIn(
            nonce=attempt.nonce,
            job=opening.job,
            base_version=opening.base_version,
            params_digest=opening.params_digest,
            roles_version=self._roles.version,
            certificate=self.identity.certificate,
        )
        return (Send(data=self._sealed(message, NO_CONTEXT)),)

    def _later(self, letter: Envelope) -> tuple[Effect, ...]:
        attempt = self._current()
        self._bound(letter, NO_CONTEXT, self.identity.device)
        if opened(letter, Later).nonce != attempt.nonce:
            raise Refusal("StaleNonce", "the answer is not to this device's last check-in")
        self._move("later")
        self._attempt = None
        return ()

    def _plan(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("plan")
        attempt = self._current()
        self._bound(letter, NO_CONTEXT, self.identity.device)
        offer = opened(letter, Offer)
        if offer.nonce != attempt.nonce:
            raise Refusal("StaleNonce", "the plan does not answer this device's last check-in")
        plan = Plan.decode(offer.plan)
        opening = attempt.opening
        acceptance.check(
            plan,
            opening,
            offer.now,
            identity=self.identity,
            limits=self.limits,
            ledger=self.ledger,
            roles=self._roles,
            known_checkpoint=self._checkpoint,
        )
        self._checkpoint = plan.checkpoint
        Form(plan, self._layout)
        authority = acceptance.authority(plan, offer, self._roles, self.ledger, self._authority)
        self._authority = authority
        attempt.plan, attempt.authority = plan, authority
        attempt.context = first_context(offer.plan, opening.bundle_digest, opening.params_digest)
        attempt.join = client.Joining(
            self.identity.device,
            self.identity.key,
            self.identity.certificate,
            attempt.context,
            self._entropy.child("secagg", plan.round, plan.attempt),
        )
        self._move("plan")
        self.ledger = dataclasses.replace(
            self.ledger,
            round=plan.round,
            attempt=plan.attempt,
            participations=self.ledger.participations + 1,
            roles_version=self._roles.version,
            revocations_version=authority.revocations.version,
        )
        return (Charge(ledger=self.ledger), Send(data=attempt.join.letter.encode()))

    def _roster(self, letter: Envelope) -> tuple[Effect, ...]:
        attempt = self._current()
        plan, join = attempt.plan, attempt.join
        if plan is None or join is None or attempt.authority is None:
            raise Refusal("OutOfOrder", f"roster while {self.stage.value}")
        roster = opened(letter, Roster)
        self._bound(letter, attempt.context, roster.cohort, self.identity.device)
        if plan.profile == unmasked.PROFILE:
            self._allowed("unmasked roster")
            attempt.cohort = roster.cohort
            attempt.second = unmasked.second_context(attempt.context, roster.cohort)
            self._move("unmasked roster")
            return (Work(plan=plan),)
        sharing = join.roster(
            roster, attempt.authority, profile=plan.profile, floor=max(plan.cohort_floor, self.limits.smallest_cohort)
        )
        self._allowed("roster")
        self._move("roster")
        attempt.sharing, attempt.cohort, attempt.second = sharing, roster.cohort, sharing.cohort.context
        data = self._sealed(sharing.message, attempt.second)
        return (Keep(name="share", data=data), Send(data=data))

    def _shares(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("shares")
        attempt = self._current()
        if attempt.sharing is None or attempt.plan is None:
            raise LocalProtocolError("a device that shared has a sharing stage and a plan")
        self._bound(letter, attempt.second, self.identity.device)
        attempt.masking = attempt.sharing.shares(opened(letter, Shares))
        self._move("shares")
        return (Work(plan=attempt.plan),)

    def _worked(self, found: Contribution) -> tuple[Effect, ...]:
        self._allowed("worked")
        attempt = self._current()
        plan = attempt.plan
        if plan is None or attempt.join is None:
            raise LocalProtocolError("a device that worked has a plan")
        seed = self._entropy.child("rounding", plan.round, plan.attempt)(32)
        try:
            vector = Form(plan, self._layout).encode(found, seed)
        except RemoteProtocolError:
            raise
        except AccordError as error:
            return self._gave_up(str(error))
        bits = plan.fixed.modulus_bits
        if attempt.masking is not None:
            attempt.unmasking, masked, dealers = attempt.masking.mask(vector, bits)
            message = Masked(dealers=dealers, vector=packing.pack(masked, bits))
        else:
            key = unmasked.update_key(attempt.join.sealing, plan.seal_key, attempt.second, self.identity.device)
            message = Masked(dealers=b"\x00", vector=keys.lock(key, packing.pack(vector, bits)))
        self._move("worked")
        data = self._sealed(message, attempt.second)
        return (Keep(name="masked", data=data), Send(data=data))

    def _gave_up(self, reason: str) -> tuple[Effect, ...]:
        self._move("gave up")
        self._attempt = None
        return (Refused(reason="TrainingFailed", detail=reason),)

    def _survivors(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("survivors")
        attempt = self._current()
        if attempt.plan is None:
            raise LocalProtocolError("a device that masked has a plan")
        self._bound(letter, attempt.second, attempt.cohort)
        message = opened(letter, Survivors)
        if attempt.unmasking is not None:
            attempt.answered, answer = attempt.unmasking.survivors(message, attempt.plan.seal_key)
        else:
            answer = Unmask(sealed=b"")
        self._move("survivors")
        data = self._sealed(answer, attempt.second)
        return (Keep(name="unmask", data=data), Send(data=data))

    def _result(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("result")
        attempt = self._current()
        plan = attempt.plan
        if plan is None:
            raise LocalProtocolError("a device that joined has a plan")
        self._bound(letter, attempt.second or attempt.context, self.identity.device)
        result = opened(letter, Result)
        self._move("result")
        self._attempt = None
        included = result.included
        effects: list[Effect] = []
        if attempt.answered is not None:
            try:
                included = attempt.answered.result(result)
            except Refusal as refusal:
                included = True
                effects.append(Refused(reason=refusal.reason, detail=refusal.detail))
        finished = Finished(round=plan.round, attempt=plan.attempt, status=result.status, included=included)
        return (*effects, finished)
