"""One attempt of a round: who checked in, who joined, the cohorts they form, and how each of those ends.

Sans-IO. Whoever owns an attempt asks `ended` after each step; an attempt is never used again once it has ended.
"""

from collections.abc import Mapping

from accord import prg
from accord.entropy import Entropy
from accord.errors import CodecError, Refusal, UsageError
from accord.secagg import keys, unmasked
from accord.secagg.authority import Authority
from accord.secagg.cohort import assembled, first_context, new_roster, shown_to
from accord.secagg.ring import Spread
from accord.secagg.roster_tree import RosterTree
from accord.update.pipeline import Form
from accord.wire.check_in import FAILED, Withdraw
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Certificate, opened
from accord.wire.secure_sum import Consistency, Join, Masked, Roster, Share, Unmask
from aggregator import cohorts
from aggregator import round as engine
from aggregator.attempt_values import CohortOf, Invitation
from aggregator.coordinator_values import Declined, Effect, Log, Send, Settle, Withdrew
from aggregator.desk import Desk
from aggregator.muster import Muster
from aggregator.round_values import (
    Back,
    Failed,
    Gone,
    Left,
    Message,
    Opened,
    Received,
    Refused,
    ToCohort,
    ToDevice,
    Windows,
)
from aggregator.round_values import Effect as RoundEffect
from aggregator.round_values import Event as RoundEvent
from aggregator.round_values import Tick as RoundTick
from aggregator.standing import Standing

ROUND_MESSAGES: Mapping[str, type[Message]] = {
    TAG_OF[kind]: kind for kind in (Share, Masked, Consistency, Unmask, Withdraw)
}


class Attempt:
    """One attempt.

    Args:
        invitation: the plan and whom it is for.
        form: of the vectors.
        seal_pair: the key pair whose public half the plan names.
        windows: how long each phase waits.
        authority: whose certificates count.
        desk: signs.
        entropy: deals the cohorts.
        now: monotonic seconds.
        spread: shares the work on masks, as `map` would do it.
    """

    def __init__(
        self,
        invitation: Invitation,
        *,
        form: Form,
        seal_pair: keys.KeyPair,
        windows: Windows,
        authority: Authority,
        desk: Desk,
        entropy: Entropy,
        now: float,
        spread: Spread = map,
    ) -> None:
        self.plan, self.form = invitation.plan, form
        self.plan_digest = prg.digest(invitation.data)
        self.cohorts: dict[str, CohortOf] = {}
        self.of_device: dict[str, str] = {}
        self.failure: Failed | None = None
        self.sitting_out: frozenset[str] = frozenset()
        """Devices that withdrew for a reason that comes again in a later attempt of this round."""
        plan = invitation.plan
        self._context = first_context(invitation.data, plan.bundle_digest, plan.params_digest)
        self._muster = Muster(invitation, context=self._context, seal_pair=seal_pair, authority=authority, desk=desk)
        self._invitation, self._seal_pair, self._windows = invitation, seal_pair, windows
        self._desk, self._entropy, self._spread = desk, entropy, spread
        self._deadline = now + windows.join
        self._gone: dict[str, float] = {}

    @property
    def offered(self) -> Mapping[str, Certificate]:
        """The devices that were offered the plan, with their certificates."""
        return self._muster.offered

    @property
    def ended(self) -> bool:
        """Whether it failed before cohorts were formed, or every cohort has ended."""
        formed = not self._muster.open and bool(self.cohorts)
        return self.failure is not None or (formed and all(c.ended is not None for c in self.cohorts.values()))

    @property
    def opened(self) -> list[CohortOf]:
        """The cohorts that closed with a sum."""
        return [c for c in self.cohorts.values() if isinstance(c.ended, Opened)]

    @property
    def failed(self) -> list[Failed]:
        """How the other cohorts, or the attempt as a whole, failed."""
        found = [c.ended for c in self.cohorts.values() if isinstance(c.ended, Failed)]
        return found if self.failure is None else [self.failure, *found]

    def next_time(self, online: set[str]) -> float | None:
        """Return when a tick can change something, or None."""
        if self._muster.open:
            waiting = self._muster.waiting
            if waiting and self._complete(online) and all(d in self._gone for d in waiting):
                return min(self._deadline, max(self._gone[d] for d in waiting) + self._windows.grace)
            return self._deadline
        return min((t for c in self.cohorts.values() if (t := engine.next_time(c.state)) is not None), default=None)

    def check_in(self, letter: Envelope, clock: int, standing: Standing | None, now: float) -> tuple[Effect, ...]:
        """Offer the plan to a device, let it wait, or let it leave its cohort; `standing` is where it stood before.

        Raises:
            Refusal: its certificate does not hold, `DuplicateKey`, or `LogBehind`, it saw a longer log than the plan's.
            CodecError: the letter is not a check-in.
            SignatureError: it is not the device's.
        """
        device, effects = letter.sender, self._muster.check_in(letter, clock, standing)
        self._gone.pop(device, None)
        if device not in self.of_device or not any(isinstance(effect, Declined) for effect in effects):
            return effects
        return (*effects, *self._stepped(self.cohorts[self.of_device[device]], Left(device=device), now))

    def letter(self, letter: Envelope, online: set[str], now: float) -> tuple[Effect, ...]:
        """Take any other letter of a device that was offered the plan.

        Raises:
            Refusal: by name; nothing was changed.
            CodecError: the letter is not well formed.
            SignatureError: it is not the device's.
        """
        device = letter.sender
        certificate = self.offered.get(device)
        if certificate is None:
            raise Refusal("NotOffered", f"{device} was not offered this attempt")
        letter.check(certificate.identity)
        if letter.tag == TAG_OF[Join]:
            return (*self._muster.join(letter), *self.formed(online, now))
        if letter.tag not in ROUND_MESSAGES or device not in self.of_device:
            raise Refusal("OutOfOrder", f"{letter.tag} from {device}")
        held = self.cohorts[self.of_device[device]]
        if letter.context != held.state.context:
            raise Refusal("WrongContext", f"{letter.tag} of {device} is bound to another cohort")
        message = opened(letter, ROUND_MESSAGES[letter.tag])
        before = held.state.withdrawn
        received = Received(device=device, message=message, digest=letter.digest, signature=letter.signature)
        effects = self._stepped(held, received, now)
        if not isinstance(message, Withdraw) or held.state.withdrawn == before:
            return effects
        if message.reason != FAILED:
            self.sitting_out |= {device}
        at = self.plan
        return (Withdrew(round=at.round, attempt=at.attempt, device=device, reason=message.reason), *effects)

    def presence(self, device: str, online: set[str], now: float) -> tuple[Effect, ...]:
        """Take a birth (the device is in `online`) or a last will."""
        if device in online:
            self._gone.pop(device, None)
        else:
            self._gone.setdefault(device, now)
        if device in self.of_device:
            held = self.cohorts[self.of_device[device]]
            return self._stepped(held, Back(device=device) if device in online else Gone(device=device), now)
        return self.formed(online, now)

    def tick(self, online: set[str], now: float) -> tuple[Effect, ...]:
        """Let time pass."""
        if self._muster.open:
            return self.formed(online, now)
        return tuple(effect for held in self.cohorts.values() for effect in self._stepped(held, RoundTick(), now))

    def results(self, transcript: bytes, unused: str = "") -> list[Effect]:
        """Return RESULT for every member, with whether it is in the sum, and why the sums move nothing if so."""
        effects: list[Effect] = []
        for held in self.cohorts.values():
            for device in held.state.members:
                data = self._desk.sealed(held.result(device, transcript, unused), device, held.state.context)
                effects.append(Settle(round=self.plan.round, attempt=self.plan.attempt, device=device, data=data))
        return effects

    def formed(self, online: set[str], now: float) -> tuple[Effect, ...]:
        """Make cohorts once everybody that is wanted has joined, or the window is over."""
        if not self._muster.open:
            return ()
        plan, invitation, grace = self.plan, self._invitation, self._windows.grace
        lost = all(d in self._gone and now >= self._gone[d] + grace for d in self._muster.waiting)
        if not (self._complete(online) and lost) and now < self._deadline:
            return ()
        self._muster.open = False
        try:
            groups = cohorts.form(
                sorted(self._muster.joined),
                invitation.cohorts,
                plan.cohort_floor,
                plan.cohort_cap,
                self._entropy,
                graph=plan.graph,
                profile=plan.profile,
            )
        except UsageError as error:
            self.failure = Failed(reason="TooFewDevices", detail=str(error))
            return ()
        joined, wanted = len(self._muster.joined), plan.cohort_floor
        if invitation.waits_for_all:  # what its profile bears is counted on a roster of them all
            wanted = invitation.devices
        if not groups or joined < wanted:
            self.failure = Failed(reason="TooFewDevices", detail=f"{joined} joined; {wanted} needed")
            return ()
        effects: list[Effect] = []
        for number, group in enumerate(groups, 1):
            effects += self._begin(f"r{plan.round}-a{plan.attempt}-c{number}", group, now)
        return tuple(effects)

    def _complete(self, online: set[str]) -> bool:
        """Return whether everybody who is wanted and here was offered the plan."""
        if self._invitation.waits_for_all:
            return len(self.offered) >= self._invitation.devices
        here = len((online - self._invitation.barred - self._muster.turned_away) | set(self.offered))
        return len(self.offered) >= min(self._invitation.devices, max(here, self.plan.cohort_floor))

    def _begin(self, name: str, group: list[str], now: float) -> list[Effect]:
        plan, length = self.plan, self.form.length
        own: Mapping[str, Roster] = {}
        if plan.profile == unmasked.PROFILE:
            roster = Roster(cohort=name, profile=plan.profile, neighbours=0, threshold=0, members=())
            root = unmasked.second_context(self._context, name)
            seal_keys = {device: self._muster.joined[device].seal_key for device in group}
            state = engine.begin_unmasked(
                plan,
                name,
                root,
                seal_keys,
                length=length,
                unpack=self.form.unpack,
                windows=self._windows,
                seal_pair=self._seal_pair,
                now=now,
            )
        else:
            roster = new_roster(name, plan.profile, [self._muster.joined[device] for device in group], plan.graph)
            tree = RosterTree(roster)
            cohort = assembled(roster, self._context, tree)
            root = cohort.root
            if not cohort.graph.complete:
                own = {device: shown_to(roster, cohort, tree, device) for device in group}
            state = engine.begin(
                plan, cohort, self._spread, length=length, windows=self._windows, seal_pair=self._seal_pair, now=now
            )
        held = self.cohorts[name] = CohortOf(state, root)
        self.of_device |= dict.fromkeys(group, name)
        for device in group:  # who went while others joined is gone here too
            if device in self._gone:
                held.state, _ = engine.step(held.state, Gone(device=device), self._gone[device])
        if own:
            return [Send(device=d, data=self._desk.sealed(own[d], d, self._context)) for d in group]
        data = self._desk.sealed(roster, name, self._context)
        return [Send(device=device, data=data) for device in group]

    def _stepped(self, held: CohortOf, event: RoundEvent, now: float) -> tuple[Effect, ...]:
        if held.ended is not None:
            if isinstance(event, Received):
                raise Refusal("TooLate", f"cohort {held.state.name} has ended")
            return ()
        held.state, found = engine.step(held.state, event, now)
        return tuple(sent for effect in found for sent in self._carried(held, effect))

    def _carried(self, held: CohortOf, effect: RoundEffect) -> list[Effect]:
        """Turn what a cohort's round gives into letters, or note how it ended."""
        context = held.state.context
        match effect:
            case ToDevice(device=device, message=message):
                return [Send(device=device, data=self._desk.sealed(message, device, context))]
            case ToCohort(devices=devices, message=message):
                data = self._desk.sealed(message, held.state.name, context)
                return [Send(device=device, data=data) for device in devices]
            case Refused(device=device, reason=reason, detail=detail):
                return [Log(device=device, reason=reason, detail=detail)]
            case Opened():
                held.ended = effect
                try:
                    held.total = self.form.decode(effect.total)
                except CodecError as error:  # nobody in it had rows to train on
                    held.ended = Failed(reason="NoWeight", detail=str(error))
            case Failed():
                held.ended = effect
        return []
