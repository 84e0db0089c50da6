"""The device's side of a round: a transition table and a session that takes events and gives effects.

Sans-IO: whoever drives it carries out the effects in their order, so what is written before it is sent is written
before it is sent. Every message of the aggregator is verified here, and refused by name. After a restart `resume` goes
through the letters again that were written, and comes out where the device was, with the same bytes to send.
See docs/protocol.md, section 10.
"""

import dataclasses
from collections.abc import Callable, Mapping

from accord.entropy import Entropy
from accord.errors import AccordError, CodecError, LocalProtocolError, Refusal, RemoteProtocolError, SignatureError
from accord.plan import Plan
from accord.records import Record
from accord.secagg import client, keys, unmasked
from accord.secagg.authority import Authority
from accord.secagg.cohort import first_context
from accord.tensors import Layout
from accord.update import packing
from accord.update.pipeline import Contribution, Form
from accord.wire.check_in import BARRED, CheckIn, Later
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import (
    TAG_OF,
    TAGS,
    Masked,
    Offer,
    Opening,
    Result,
    Roles,
    Roster,
    Shares,
    Survivors,
    Unmask,
    opened,
)
from edge_sdk import acceptance
from edge_sdk.attempt import Attempt
from edge_sdk.roles import RolesInForce
from edge_sdk.saved import FILES, SECRET_FILES, AnsweredOnce, Joined, MaskedOnce, Saved, Shared
from edge_sdk.session_values import (
    TRANSITIONS,
    Arrived,
    Believe,
    Charge,
    Effect,
    Event,
    Fetch,
    Fetched,
    Finished,
    Forget,
    GaveUp,
    Heard,
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


class Session:
    """One device in one job.

    Args:
        identity: who we are and whom we believe.
        limits: what we refuse whatever a plan says.
        layout: the trainable tensors of the bundle that we hold.
        bundle_digest: the digest of that bundle, computed by ourselves.
        entropy: each attempt's seed is drawn from it.
        ledger: how far we had gone before.
        now: aggregator time in seconds, for the roles document.
        birth: which start of this device's process this is.

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
        birth: int = 1,
    ) -> None:
        self.identity, self.limits, self.ledger = identity, limits, ledger
        self.stage = Stage.IDLE
        self._raw = b""
        """The letter in hand, as it came: it is written down, and never encoded anew."""
        self.last = b""
        """The letter that the aggregator has not answered yet: it is sent again, unchanged, when nothing comes."""
        self._layout, self._bundle, self._entropy, self._birth = layout, bundle_digest, entropy, birth
        self._in_force = RolesInForce(identity, now=now, seen=ledger.roles_version)
        self._attempt: Attempt | None = None
        self._authority: Authority | None = None

    @property
    def _roles(self) -> Roles:
        return self._in_force.current

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
            return (*self._handled(event), *self._turned())
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
            case Heard(data=data):
                self._in_force.take(data)
                return ()

    def _turned(self) -> tuple[Effect, ...]:
        """Put a newer roles document in force, unless an attempt is under way: its plan names the one before."""
        data = b"" if self._attempt is not None else self._in_force.turn()
        if not data:
            return ()
        try:
            acceptance.check_own_certificate(self.identity, self._roles, self._in_force.now)
        except Refusal as refusal:
            return (Believe(roles=data), Refused(reason=refusal.reason, detail=refusal.detail))
        return (Believe(roles=data),)

    def resume(self, saved: Saved) -> tuple[Effect, ...]:
        """Come back into the attempt whose files were found, in a session that has just been made.

        Files that do not fit together are given up by name: this device then waits for the next opening.
        """
        try:
            return self._resumed(saved)
        except AccordError as error:
            self.stage, self.last, self._attempt = Stage.IDLE, b"", None
            return (Forget(names=tuple(FILES)), Refused(reason="CannotResume", detail=str(error)))

    def _resumed(self, saved: Saved) -> tuple[Effect, ...]:
        if saved.answered is not None:
            return self._resumed_answer(saved.answered)
        if saved.joined is None:
            return ()
        joined, ledger = saved.joined, self.ledger
        opening = opened(Envelope.decode(joined.opening), Opening)
        charged = (ledger.round, ledger.attempt) == (opening.round, opening.attempt)
        if charged:  # what is charged is not charged again: the rules look at the ledger as it was before
            self.ledger = dataclasses.replace(ledger, round=opening.round, attempt=opening.attempt - 1)
        self._arrived(joined.opening)
        self._current().seed = joined.seed
        self._check_in()
        effects = self._arrived(joined.offer)
        if charged:
            self.ledger = ledger
            effects = ()
        if saved.shared is not None:
            self._arrived(saved.shared.roster)
            if saved.shared.letter not in (b"", self.last):
                raise LocalProtocolError("this device would send other shares than those that it wrote")
        if saved.masked is not None:
            self._resumed_mask(saved.masked)
        work = self._work() if self.stage is Stage.WORKING else ()
        return (*(e for e in effects if isinstance(e, Charge)), *work, *self._again())

    def _resumed_mask(self, masked: MaskedOnce) -> None:
        if masked.shares:
            self._arrived(masked.shares)
        attempt = self._current()
        if attempt.masking is not None:
            attempt.unmasking = attempt.masking.masked()
        self._move("worked")
        self.last = masked.letter

    def _resumed_answer(self, answered: AnsweredOnce) -> tuple[Effect, ...]:
        attempt = Attempt(opened(Envelope.decode(answered.opening), Opening), answered.opening)
        attempt.second = answered.context
        if answered.survivors:
            attempt.answered = client.Answered(answered.survivors)
        self._attempt, self.stage, self.last = attempt, Stage.ANSWERED, answered.letter
        return (Forget(names=SECRET_FILES), *self._again())

    def _again(self) -> tuple[Effect, ...]:
        return (Send(data=self.last),) if self.last else ()

    def _move(self, event: str) -> None:
        following = TRANSITIONS[self.stage].get(event)
        if following is None:
            raise Refusal("OutOfOrder", f"{event} while {self.stage.value}")
        self.stage = following

    def _sent(self, data: bytes, payload: int = 0) -> Send:
        """Return the effect that sends a letter, which is then the last one."""
        self.last = data
        return Send(data=data, payload=payload)

    def _ends(self) -> Forget:
        """Leave the attempt; what was written of it goes, the secrets first."""
        self._attempt, self.last = None, b""
        return Forget(names=tuple(FILES))

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
        self._raw = data
        if letter.tag not in TAGS or letter.sender != "aggregator":
            raise Refusal("Foreign", f"{letter.tag} from {letter.sender}")
        if letter.tag == TAG_OF[Opening]:
            self._in_force.check_opening(letter)
            return self._opening(opened(letter, Opening), data)
        letter.check(self._roles.aggregator)
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

    def _current(self) -> Attempt:
        if self._attempt is None:
            raise Refusal("OutOfOrder", f"no attempt is under way while {self.stage.value}")
        return self._attempt

    def _bound(self, letter: Envelope, context: bytes, *recipients: str) -> None:
        """Refuse a letter that is not bound to this attempt or not meant for us."""
        if letter.context != context:
            raise Refusal("WrongContext", f"{letter.tag} belongs to another round, attempt or cohort")
        if letter.recipient not in recipients:
            raise Refusal("NotForUs", f"{letter.tag} is for {letter.recipient}")

    def _opening(self, opening: Opening, data: bytes) -> tuple[Effect, ...]:
        current, last = self._attempt, (self.ledger.round, self.ledger.attempt)
        if (opening.round, opening.attempt) == last or (current is not None and current.opening == opening):
            return ()  # brokers hand the last announcement to everybody who comes back
        if (opening.round, opening.attempt) < last:
            raise Refusal("OldRound", f"round {opening.round}, attempt {opening.attempt} is not after the last one")
        if opening.bundle_digest != self._bundle:
            raise Refusal("ForeignBundle", "the opening names a bundle that this device does not hold")
        acceptance.check_version(opening, self.ledger)
        self._move("opening")
        over = () if current is None else (self._ends(),)
        turned = self._turned()
        self._attempt, self.last = Attempt(opening, data), b""
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

    def _fetched(self, event: Fetched) -> tuple[Effect, ...]:
        attempt = self._current()
        opening = attempt.opening
        if (event.params_digest, event.bundle_digest) != (opening.params_digest, opening.bundle_digest):
            raise Refusal("OutOfOrder", "other objects were fetched than the opening names")
        attempt.seed = self._entropy.child("attempt", opening.round, opening.attempt)(32)
        before = self.ledger
        self.ledger = dataclasses.replace(before, version=opening.base_version, params=opening.params_digest)
        written = () if self.ledger == before else (Charge(ledger=self.ledger),)
        return (*written, self._sent(self._check_in()))

    def _check_in(self) -> bytes:
        """Draw the nonce from the attempt's seed and return the sealed CHECK-IN."""
        attempt = self._current()
        opening = attempt.opening
        self._move("fetched")
        attempt.nonce = attempt.entropy("nonce")(16)
        message = CheckIn(
            nonce=attempt.nonce,
            job=opening.job,
            round=opening.round,
            attempt=opening.attempt,
            base_version=opening.base_version,
            params_digest=opening.params_digest,
            roles_version=self._roles.version,
            certificate=self.identity.certificate,
            log_size=acceptance.log_head(self.ledger.checkpoint).size,
            sequence=self.ledger.participations,
            birth=self._birth,
        )
        return self._sealed(message, NO_CONTEXT)

    def _later(self, letter: Envelope) -> tuple[Effect, ...]:
        attempt = self._current()
        self._bound(letter, NO_CONTEXT, self.identity.device)
        later = opened(letter, Later)
        if later.nonce != attempt.nonce:
            raise Refusal("StaleNonce", "the answer is not to this device's last check-in")
        self._move("later")
        self._attempt, self.last = None, b""
        return (Refused(reason="Barred", detail=later.reason),) if later.reason.startswith(BARRED) else ()

    def _plan(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("plan")
        attempt = self._current()
        self._bound(letter, NO_CONTEXT, self.identity.device)
        offer = opened(letter, Offer)
        if offer.nonce != attempt.nonce:
            raise Refusal("StaleNonce", "the plan does not answer this device's last check-in")
        self._in_force.now = max(self._in_force.now, offer.now)
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
            consistency=offer.consistency,
        )
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
            attempt.entropy("secagg"),
        )
        self._move("plan")
        self.ledger = dataclasses.replace(
            self.ledger,
            round=plan.round,
            attempt=plan.attempt,
            participations=self.ledger.participations + 1,
            roles_version=self._roles.version,
            revocations_version=authority.revocations.version,
            checkpoint=plan.checkpoint,
        )
        joined = Joined(seed=attempt.seed, opening=attempt.opening_letter, offer=self._raw)
        return (
            Keep(name="joined", data=joined.encode()),
            Charge(ledger=self.ledger),
            self._sent(attempt.join.letter.encode()),
        )

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
            self.last = b""
            shared = Shared(roster=self._raw, letter=b"")
            return (Keep(name="shared", data=shared.encode()), *self._work())
        sharing = join.roster(
            roster, attempt.authority, profile=plan.profile, floor=max(plan.cohort_floor, self.limits.smallest_cohort)
        )
        self._allowed("roster")
        self._move("roster")
        attempt.sharing, attempt.cohort, attempt.second = sharing, roster.cohort, sharing.cohort.context
        data = self._sealed(sharing.message, attempt.second)
        shared = Shared(roster=self._raw, letter=data)
        return (Keep(name="shared", data=shared.encode()), self._sent(data))

    def _shares(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("shares")
        attempt = self._current()
        if attempt.sharing is None:
            raise LocalProtocolError("a device that shared has a sharing stage")
        self._bound(letter, attempt.second, self.identity.device)
        attempt.masking = attempt.sharing.shares(opened(letter, Shares))
        self._move("shares")
        attempt.shares_letter, self.last = self._raw, b""
        return self._work()

    def _work(self) -> tuple[Effect, ...]:
        attempt = self._current()
        if attempt.plan is None:
            raise LocalProtocolError("a device that joined has a plan")
        return (Work(plan=attempt.plan, params_size=attempt.opening.params_size),)

    def _worked(self, found: Contribution) -> tuple[Effect, ...]:
        self._allowed("worked")
        attempt = self._current()
        plan = attempt.plan
        if plan is None or attempt.join is None:
            raise LocalProtocolError("a device that worked has a plan")
        seed = attempt.entropy("rounding")(32)
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
        masked_once = MaskedOnce(shares=attempt.shares_letter, letter=data)
        return (Keep(name="masked", data=masked_once.encode()), self._sent(data, len(message.vector)))

    def _gave_up(self, reason: str) -> tuple[Effect, ...]:
        self._move("gave up")
        return (self._ends(), Refused(reason="TrainingFailed", detail=reason))

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
        once = AnsweredOnce(
            opening=attempt.opening_letter,
            context=attempt.second,
            survivors=b"" if attempt.answered is None else message.survivors,
            letter=data,
        )
        return (Keep(name="answered", data=once.encode()), Forget(names=SECRET_FILES), self._sent(data))

    def _result(self, letter: Envelope) -> tuple[Effect, ...]:
        self._allowed("result")
        attempt = self._current()
        self._bound(letter, attempt.second or attempt.context, self.identity.device)
        result = opened(letter, Result)
        self._move("result")
        effects: list[Effect] = [self._ends()]
        included = result.included
        if attempt.answered is not None:
            try:
                included = attempt.answered.result(result)
            except Refusal as refusal:
                included = True
                effects.append(Refused(reason=refusal.reason, detail=refusal.detail))
        opening = attempt.opening
        if result.status == "closed":
            self.ledger = dataclasses.replace(self.ledger, closed_round=opening.round, transcript=result.transcript)
        finished = Finished(round=opening.round, attempt=opening.attempt, status=result.status, included=included)
        return (*effects, finished)
