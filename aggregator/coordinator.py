"""One job's rounds, one after another: openings, check-ins, cohorts, retries and releases.

Sans-IO: `step(event, now, clock)` returns effects in order; `now` is monotonic seconds, `clock` is wall time in whole
seconds and goes only into signed documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from accord import cbor, prg
from accord.entropy import Entropy
from accord.errors import CodecError, LocalProtocolError, Refusal, SignatureError, UsageError
from accord.plan import Plan
from accord.records import Record
from accord.secagg import keys, unmasked
from accord.secagg.authority import Authority
from accord.secagg.cohort import assembled, first_context, new_roster
from accord.tensors import Layout
from accord.update import packing
from accord.update.pipeline import Form, Total
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import (
    TAG_OF,
    Certificate,
    CheckIn,
    Join,
    Later,
    Masked,
    Member,
    Offer,
    Opening,
    Outcome,
    Release,
    Result,
    Revocations,
    Roles,
    Roster,
    Share,
    Unmask,
    opened,
)
from aggregator import cohorts
from aggregator import round as engine
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
    Request,
    Send,
    Settings,
    Start,
    Tick,
)
from aggregator.round_values import (
    Back,
    Failed,
    Gone,
    Opened,
    Received,
    Refused,
    ToCohort,
    ToDevice,
)
from aggregator.round_values import Effect as RoundEffect
from aggregator.round_values import Tick as RoundTick

ROUND_MESSAGES: Mapping[str, type[Share] | type[Masked] | type[Unmask]] = {
    TAG_OF[Share]: Share,
    TAG_OF[Masked]: Masked,
    TAG_OF[Unmask]: Unmask,
}


@dataclass
class _Cohort:
    """One cohort of the attempt and how it ended."""

    state: engine.RoundState
    root: bytes
    ended: Opened | Failed | None = None
    total: Total | None = None


@dataclass
class _Attempt:
    """One attempt of one round; `certificates` are those of the devices that checked in."""

    plan: Plan
    data: bytes
    context: bytes
    form: Form
    seal_pair: keys.KeyPair
    deadline: float
    joining: bool = True
    offered: dict[str, Certificate] = field(default_factory=dict)
    joined: dict[str, tuple[Member, Join]] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    cohorts: dict[str, _Cohort] = field(default_factory=dict)
    of_device: dict[str, str] = field(default_factory=dict)


class Coordinator:
    """The rounds of one job.

    Args:
        office: the aggregator's key and documents.
        settings: windows and retries.
        model: the version to start from.
        layout: the model's trainable tensors.
        entropy: seal keys and the dealing of cohorts come from it.
        clock: wall time in seconds, for the certificates.

    `online` holds the devices whose birth stands: an attempt does not wait for others.
    """

    def __init__(
        self, *, office: Office, settings: Settings, model: Model, layout: Layout, entropy: Entropy, clock: int
    ) -> None:
        self.office, self.settings, self.model = office, settings, model
        self.round = 0
        self.transcript = bytes(32)
        self.online: set[str] = set()
        self._layout, self._entropy = layout, entropy
        self._request: Request | None = None
        self._attempt: _Attempt | None = None
        revocations = opened(Envelope.decode(office.revocations), Revocations)
        self._revocations_digest = prg.digest(office.revocations)
        roles = opened(Envelope.decode(office.roles), Roles)
        self._authority = Authority(roles=roles, revocations=revocations, now=clock)

    def step(self, event: Event, now: float, clock: int) -> tuple[Effect, ...]:
        """Take one event and return what must be done, in order; what is wrong gives `Log` and changes nothing."""
        match event:
            case Start(request=request):
                if self._attempt is not None:
                    raise LocalProtocolError("a round is under way")
                self._request = request
                self.round += 1
                return self._open(1, now, clock)
            case Arrived(device=device, data=data):
                try:
                    return self._arrived(device, data, now, clock)
                except Refusal as refusal:
                    return (Log(device=device, reason=refusal.reason, detail=refusal.detail),)
                except (CodecError, SignatureError) as error:
                    return (Log(device=device, reason=type(error).__name__, detail=str(error)),)
            case Presence():
                return self._presence(event, now, clock)
            case Tick():
                return self._tick(now, clock)

    def expected_upload(self, letter: Envelope) -> int:
        """Return the largest letter in bytes that the sender of `letter` may send in pieces now.

        Raises:
            Refusal: `NotOffered`, the sender takes no part in the attempt under way.
            SignatureError: the letter is not the device's.
        """
        attempt = self._attempt
        if attempt is None or letter.sender not in attempt.of_device:
            raise Refusal("NotOffered", f"{letter.sender} takes no part in an attempt")
        letter.check(attempt.offered[letter.sender].identity)
        return packing.packed_size(attempt.form.length, attempt.plan.fixed.modulus_bits) + 1_024

    @property
    def profile(self) -> str:
        """The profile of the round under way or of the last one."""
        return self._asked().profile

    def next_time(self) -> float | None:
        """Return when a `Tick` can change something, or None."""
        attempt = self._attempt
        if attempt is None:
            return None
        if attempt.joining:
            waiting = [d for d in attempt.offered if d not in attempt.joined]
            if waiting and all(d in attempt.gone for d in waiting):
                last = max(attempt.gone[d] for d in waiting)
                return min(attempt.deadline, last + self.settings.windows.grace)
            return attempt.deadline
        times = [time for c in attempt.cohorts.values() if (time := engine.next_time(c.state)) is not None]
        return min(times, default=None)

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
        return (Announce(topic="model", data=self._sealed(message, self.settings.job)),)

    def _sealed(self, message: Record, recipient: str, context: bytes = NO_CONTEXT) -> bytes:
        letter = seal(
            TAG_OF[type(message)],
            message.encode(),
            key=self.office.key,
            sender="aggregator",
            recipient=recipient,
            context=context,
        )
        return letter.encode()

    def _open(self, number: int, now: float, clock: int) -> tuple[Effect, ...]:
        request, model = self._asked(), self.model
        pair = keys.new_pair(self._entropy.child("seal", self.round, number))
        plan = Plan(
            tenant=self.office.tenant,
            job=self.settings.job,
            round=self.round,
            attempt=number,
            purpose=request.purpose,
            base_version=model.version,
            bundle_digest=model.bundle_digest,
            params_digest=model.digest,
            previous=self.transcript,
            checkpoint=self.office.checkpoint,
            roles_version=self.office.roles_version,
            revocations_digest=self._revocations_digest,
            seal_key=pair.public,
            profile=request.profile,
            cohort_floor=request.floor,
            cohort_cap=max(request.floor, -(-request.devices // request.cohorts)),
            training=request.training,
            fixed=request.fixed,
            task=request.task,
            length=request.length,
            expires=clock + self.settings.lifetime,
        )
        data = plan.encode()
        self._authority = self._authority.at(clock)
        self._attempt = _Attempt(
            plan=plan,
            data=data,
            context=first_context(data, model.bundle_digest, model.digest),
            form=Form(plan, self._layout),
            seal_pair=pair,
            deadline=now + self.settings.windows.join,
        )
        opening = Opening(
            job=self.settings.job,
            round=self.round,
            attempt=number,
            base_version=model.version,
            bundle_digest=model.bundle_digest,
            bundle_size=model.bundle_size,
            params_digest=model.digest,
            params_size=len(model.params),
        )
        return (Announce(topic="round", data=self._sealed(opening, self.settings.job)),)

    def _asked(self) -> Request:
        if self._request is None:
            raise LocalProtocolError("no round was asked for")
        return self._request

    def _arrived(self, device: str, data: bytes, now: float, clock: int) -> tuple[Effect, ...]:
        letter = Envelope.decode(data)
        if letter.sender != device or letter.recipient != "aggregator":
            raise Refusal("ForeignTopic", f"{device} carries a letter of {letter.sender} to {letter.recipient}")
        attempt = self._attempt
        if attempt is None:
            raise Refusal("NoRound", "no round is open")
        if letter.tag == TAG_OF[CheckIn]:
            return self._check_in(attempt, letter, clock)
        certificate = attempt.offered.get(device)
        if certificate is None:
            raise Refusal("NotOffered", f"{device} was not offered this attempt")
        letter.check(certificate.identity)
        if letter.tag == TAG_OF[Join]:
            return self._join(attempt, letter, now, clock)
        if letter.tag not in ROUND_MESSAGES or device not in attempt.of_device:
            raise Refusal("OutOfOrder", f"{letter.tag} from {device}")
        held = attempt.cohorts[attempt.of_device[device]]
        if letter.context != held.state.context:
            raise Refusal("WrongContext", f"{letter.tag} of {device} is bound to another cohort")
        message = opened(letter, ROUND_MESSAGES[letter.tag])
        return self._stepped(attempt, held, Received(device=device, message=message), now, clock)

    def _check_in(self, attempt: _Attempt, letter: Envelope, clock: int) -> tuple[Effect, ...]:
        message, device, plan = opened(letter, CheckIn), letter.sender, attempt.plan
        certificate = self._authority.certificate(message.certificate, device)
        letter.check(certificate.identity)
        if message.job != plan.job or message.params_digest != plan.params_digest:
            return self._later(device, message.nonce, "another version is current")
        full = len(attempt.offered) >= self._asked().devices and device not in attempt.offered
        if not attempt.joining or full:
            return self._later(device, message.nonce, "this attempt is full")
        attempt.offered[device] = certificate
        attempt.gone.pop(device, None)
        offer = Offer(nonce=message.nonce, now=clock, plan=attempt.data, revocations=self.office.revocations)
        return (Send(device=device, data=self._sealed(offer, device)),)

    def _later(self, device: str, nonce: bytes, reason: str) -> tuple[Effect, ...]:
        return (Send(device=device, data=self._sealed(Later(nonce=nonce, reason=reason), device)),)

    def _join(self, attempt: _Attempt, letter: Envelope, now: float, clock: int) -> tuple[Effect, ...]:
        device = letter.sender
        if letter.context != attempt.context:
            raise Refusal("WrongContext", f"{device} joins with another plan or model")
        message = opened(letter, Join)
        self._authority.certificate(message.certificate, device)
        member = Member(device=device, join=letter.payload, signature=letter.signature)
        known = attempt.joined.get(device)
        if known is not None and known[0] != member:
            raise Refusal("JoinedBefore", f"{device} joined with other keys")
        if known is None and not attempt.joining:
            raise Refusal("TooLate", f"{device} joins after the roster was made")
        attempt.joined[device] = (member, message)
        return self._formed(attempt, now, clock)

    def _formed(self, attempt: _Attempt, now: float, clock: int) -> tuple[Effect, ...]:
        """Make cohorts once everybody that is wanted has joined, or the window is over."""
        if not attempt.joining:
            return ()
        grace = self.settings.windows.grace
        waiting = [d for d in attempt.offered if d not in attempt.joined]
        lost = all(d in attempt.gone and now >= attempt.gone[d] + grace for d in waiting)
        here = len(self.online | set(attempt.offered))
        enough = len(attempt.offered) >= min(self._asked().devices, max(here, attempt.plan.cohort_floor)) and lost
        if not enough and now < attempt.deadline:
            return ()
        attempt.joining = False
        request, plan = self._asked(), attempt.plan
        try:
            entropy = self._entropy.child("cohorts", plan.round, plan.attempt)
            groups = cohorts.form(sorted(attempt.joined), request.cohorts, plan.cohort_floor, plan.cohort_cap, entropy)
        except UsageError as error:
            return self._abort("TooFewDevices", str(error), now, clock)
        if not groups:
            detail = f"{len(attempt.joined)} joined; {plan.cohort_floor} needed"
            return self._abort("TooFewDevices", detail, now, clock)
        effects: list[Effect] = []
        for number, group in enumerate(groups, 1):
            effects += self._begin(attempt, f"r{plan.round}-a{plan.attempt}-c{number}", group, now)
        return tuple(effects)

    def _begin(self, attempt: _Attempt, name: str, group: list[str], now: float) -> list[Effect]:
        plan, windows = attempt.plan, self.settings.windows
        if plan.profile == unmasked.PROFILE:
            roster = Roster(cohort=name, profile=plan.profile, neighbours=0, threshold=0, members=())
            root = unmasked.second_context(attempt.context, name)
            state = engine.begin_unmasked(
                plan,
                name,
                root,
                {device: attempt.joined[device][1].seal_key for device in group},
                length=attempt.form.length,
                windows=windows,
                seal_pair=attempt.seal_pair,
                now=now,
            )
        else:
            roster = new_roster(name, plan.profile, [attempt.joined[device][0] for device in group])
            identities = [attempt.offered[member.device].identity for member in roster.members]
            cohort = assembled(roster, attempt.context, identities)
            root = cohort.root
            state = engine.begin(
                plan, cohort, length=attempt.form.length, windows=windows, seal_pair=attempt.seal_pair, now=now
            )
        attempt.cohorts[name] = _Cohort(state, root)
        attempt.of_device |= dict.fromkeys(group, name)
        data = self._sealed(roster, name, attempt.context)
        for device in group:  # who went while others joined is gone here too
            if device in attempt.gone:
                held = attempt.cohorts[name]
                held.state, _ = engine.step(held.state, Gone(device=device), attempt.gone[device])
        return [Send(device=device, data=data) for device in group]

    def _presence(self, event: Presence, now: float, clock: int) -> tuple[Effect, ...]:
        if event.online:
            self.online.add(event.device)
        else:
            self.online.discard(event.device)
        attempt = self._attempt
        if attempt is None:
            return ()
        if event.online:
            attempt.gone.pop(event.device, None)
        else:
            attempt.gone.setdefault(event.device, now)
        if event.device in attempt.of_device:
            held = attempt.cohorts[attempt.of_device[event.device]]
            change = Back(device=event.device) if event.online else Gone(device=event.device)
            return self._stepped(attempt, held, change, now, clock)
        return self._formed(attempt, now, clock)

    def _tick(self, now: float, clock: int) -> tuple[Effect, ...]:
        attempt = self._attempt
        if attempt is None:
            return ()
        if attempt.joining:
            return self._formed(attempt, now, clock)
        effects: list[Effect] = []
        for held in list(attempt.cohorts.values()):
            effects += self._stepped(attempt, held, RoundTick(), now, clock)
        return tuple(effects)

    def _stepped(
        self, attempt: _Attempt, held: _Cohort, event: Received | Gone | Back | RoundTick, now: float, clock: int
    ) -> tuple[Effect, ...]:
        if held.ended is not None:
            if isinstance(event, Received):
                raise Refusal("TooLate", f"cohort {held.state.name} has ended")
            return ()
        held.state, found = engine.step(held.state, event, now)
        effects = [sent for effect in found for sent in self._carried(attempt, held, effect)]
        if self._attempt is attempt and all(c.ended is not None for c in attempt.cohorts.values()):
            effects += self._finish(attempt, now, clock)
        return tuple(effects)

    def _carried(self, attempt: _Attempt, held: _Cohort, effect: RoundEffect) -> list[Effect]:
        """Turn what a cohort's round gives into letters, or note how it ended."""
        context = held.state.context
        match effect:
            case ToDevice(device=device, message=message):
                return [Send(device=device, data=self._sealed(message, device, context))]
            case ToCohort(devices=devices, message=message):
                data = self._sealed(message, held.state.name, context)
                return [Send(device=device, data=data) for device in devices]
            case Refused(device=device, reason=reason, detail=detail):
                return [Log(device=device, reason=reason, detail=detail)]
            case Opened():
                held.ended = effect
                try:
                    held.total = attempt.form.decode(effect.total)
                except CodecError as error:  # nobody in it had rows to train on
                    held.ended = Failed(reason="NoWeight", detail=str(error))
            case Failed():
                held.ended = effect
        return []

    def _finish(self, attempt: _Attempt, now: float, clock: int) -> list[Effect]:
        """Answer every member, and close the round or try again."""
        opened_cohorts = [c for c in attempt.cohorts.values() if isinstance(c.ended, Opened)]
        failed = [c for c in attempt.cohorts.values() if isinstance(c.ended, Failed)]
        if not opened_cohorts:
            first = failed[0].ended
            if not isinstance(first, Failed):
                raise LocalProtocolError("a cohort that is not open has failed")
            return list(self._abort(first.reason, first.detail, now, clock))
        plan = attempt.plan
        names = [[c.state.name, c.root, c.state.survivors] for c in opened_cohorts]
        self.transcript = prg.digest(
            cbor.encode(["accord/1/transcript", self.transcript, prg.digest(attempt.data), names])
        )
        effects = self._results(attempt)
        included: set[str] = set()
        recovered: set[str] = set()
        for held in opened_cohorts:
            if isinstance(held.ended, Opened):
                included |= set(held.ended.included)
                recovered |= set(held.ended.recovered)
        totals = [held.total for held in opened_cohorts if held.total is not None]
        members = {d for c in attempt.cohorts.values() for d in c.state.members}
        effects.append(self._outcome(plan, "closed", "", len(included)))
        effects.append(
            Closed(
                round=plan.round,
                attempt=plan.attempt,
                totals=tuple(totals),
                included=tuple(sorted(included)),
                dropped=tuple(sorted((members | set(attempt.offered)) - included)),
                recovered=tuple(sorted(recovered)),
                lost_cohorts=tuple(c.ended.reason for c in failed if isinstance(c.ended, Failed)),
            )
        )
        self._attempt = None
        return effects

    def _results(self, attempt: _Attempt) -> list[Effect]:
        effects: list[Effect] = []
        for held in attempt.cohorts.values():
            for device in held.state.members:
                ended = held.ended
                result = Result(
                    status="closed" if isinstance(ended, Opened) else "aborted",
                    reason=ended.reason if isinstance(ended, Failed) else "",
                    included=isinstance(ended, Opened) and device in ended.included,
                    survivors=ended.survivors if isinstance(ended, Opened) else b"",
                    transcript=self.transcript,
                )
                if device not in attempt.gone:
                    effects.append(Send(device=device, data=self._sealed(result, device, held.state.context)))
        return effects

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
        return Announce(topic="result", data=self._sealed(message, plan.job))

    def _abort(self, reason: str, detail: str, now: float, clock: int) -> tuple[Effect, ...]:
        attempt = self._attempt
        if attempt is None:
            raise LocalProtocolError("no attempt to abort")
        plan = attempt.plan
        final = plan.attempt >= self.settings.max_attempts
        effects: list[Effect] = [
            *self._results(attempt),
            self._outcome(plan, "aborted", reason, 0),
            Aborted(round=plan.round, attempt=plan.attempt, reason=reason, detail=detail, final=final),
        ]
        self._attempt = None
        if not final:
            effects += self._open(plan.attempt + 1, now, clock)
        return tuple(effects)
