"""One attempt of one cohort, from its roster to its sum: a transition table and `step(state, event, now)`.

Sans-IO: `now` is monotonic seconds. A phase closes when every expected device has answered or is gone for longer than
the grace, or at its deadline; closing gives the next phase or an abort by name. See docs/protocol.md, section 9.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from accord.errors import Aborted, CodecError, LocalProtocolError, Refusal
from accord.plan import STRICT, Plan
from accord.records import Record
from accord.secagg import confirming, keys, server, unmasked
from accord.secagg.cohort import Cohort
from accord.secagg.ring import Ring, Spread
from accord.update import packing
from accord.wire.check_in import Withdraw
from accord.wire.secure_sum import Consistency, Masked, Quorum, Share, Unmask
from aggregator.round_values import (
    Back,
    Effect,
    Event,
    Failed,
    Gone,
    Left,
    Message,
    Opened,
    Phase,
    Received,
    Refused,
    ToCohort,
    ToDevice,
    Windows,
)

TRANSITIONS: Mapping[Phase, Mapping[str, Phase]] = {
    Phase.SHARING: {"enough": Phase.COLLECTING, "failed": Phase.ABORTED},
    Phase.COLLECTING: {"enough": Phase.UNMASKING, "enough to confirm": Phase.CONFIRMING, "failed": Phase.ABORTED},
    Phase.CONFIRMING: {"enough": Phase.UNMASKING, "failed": Phase.ABORTED},
    Phase.UNMASKING: {"enough": Phase.CLOSED, "failed": Phase.ABORTED},
    Phase.CLOSED: {},
    Phase.ABORTED: {},
}
EXPECTED: Mapping[Phase, type[Record] | None] = {
    Phase.SHARING: Share,
    Phase.COLLECTING: Masked,
    Phase.CONFIRMING: Consistency,
    Phase.UNMASKING: Unmask,
    Phase.CLOSED: None,
    Phase.ABORTED: None,
}


Stage = (
    server.Sharing
    | server.Collecting
    | confirming.Confirming
    | server.Unmasking
    | unmasked.Collecting
    | unmasked.Confirming
)


@dataclass(frozen=True, kw_only=True)
class RoundState:
    """Where one cohort stands; `step` returns the next one.

    The stage inside is consumed by the step that leaves it: a state that was stepped over is not used again.
    """

    plan: Plan
    name: str
    context: bytes
    members: tuple[str, ...]
    seal_keys: Mapping[str, bytes] = field(repr=False)
    length: int
    phase: Phase
    deadline: float
    windows: Windows
    stage: Stage | None = field(repr=False)
    seal_pair: keys.KeyPair = field(repr=False)
    unpack: Callable[[bytes], Ring] | None = field(default=None, repr=False)
    gone: Mapping[str, float] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    expected: tuple[str, ...] = ()
    survivors: bytes = b""
    quorum: Quorum | None = None
    spread: Spread = field(default=map, repr=False)


def begin(
    plan: Plan,
    cohort: Cohort,
    spread: Spread = map,
    *,
    length: int,
    windows: Windows,
    seal_pair: keys.KeyPair,
    now: float,
) -> RoundState:
    """Return the state of a masked cohort whose ROSTER is going out now; `spread` shares the work on its masks."""
    return RoundState(
        plan=plan,
        name=cohort.name,
        context=cohort.context,
        members=cohort.devices,
        seal_keys=dict(zip(cohort.devices, cohort.seal_keys, strict=True)),
        length=length,
        phase=Phase.SHARING,
        deadline=now + windows.share,
        windows=windows,
        stage=server.Sharing(cohort, plan.cohort_floor),
        seal_pair=seal_pair,
        expected=cohort.devices,
        spread=spread,
    )


def begin_unmasked(
    plan: Plan,
    name: str,
    context: bytes,
    seal_keys: Mapping[str, bytes],
    *,
    length: int,
    unpack: Callable[[bytes], Ring],
    windows: Windows,
    seal_pair: keys.KeyPair,
    now: float,
) -> RoundState:
    """Return the state of a cohort in profile `off`; `context` is its ctx2, `unpack` reads what one device sent."""
    members = tuple(sorted(seal_keys))
    return RoundState(
        plan=plan,
        name=name,
        context=context,
        members=members,
        seal_keys=dict(seal_keys),
        length=length,
        phase=Phase.COLLECTING,
        deadline=now + windows.collect,
        windows=windows,
        stage=unmasked.Collecting(members, plan.cohort_floor, plan.graph),
        seal_pair=seal_pair,
        unpack=unpack,
        expected=members,
    )


def step(state: RoundState, event: Event, now: float) -> tuple[RoundState, tuple[Effect, ...]]:
    """Take one event, of which `Tick` is time that passes, and return the next state with what must be sent.

    A message that is wrong, late or doubled changes nothing and gives `Refused`.
    """
    if not TRANSITIONS[state.phase]:
        return state, ()
    effects: tuple[Effect, ...] = ()
    match event:
        case Received(device=device, message=message):
            if missed := _missed(state, device, message):
                return state, missed
            try:
                _take(state, event)
            except Refusal as refusal:
                return state, (Refused(device=device, reason=refusal.reason, detail=refusal.detail),)
            except CodecError as error:
                return state, (Refused(device=device, reason="WrongShape", detail=str(error)),)
            kept = "withdrawn" if isinstance(message, Withdraw) else "answered"
            state = dataclasses.replace(state, **{kept: getattr(state, kept) | {device}})
        case Gone(device=device):
            state = dataclasses.replace(state, gone={**state.gone, device: state.gone.get(device, now)})
        case Back(device=device):
            state = dataclasses.replace(state, gone={d: t for d, t in state.gone.items() if d != device})
        case Left(device=device):
            state = dataclasses.replace(state, withdrawn=state.withdrawn | {device})
    if _over(state, now):
        state, effects = _close(state, now)
    return state, effects


def next_time(state: RoundState) -> float | None:
    """Return when a `Tick` can change something, or None once the cohort has ended."""
    if not TRANSITIONS[state.phase]:
        return None
    waiting = _waiting(state)
    if waiting and all(device in state.gone for device in waiting):
        return min(state.deadline, max(state.gone[device] for device in waiting) + state.windows.grace)
    return state.deadline


def _over(state: RoundState, now: float) -> bool:
    waiting, grace = _waiting(state), state.windows.grace
    return now >= state.deadline or all(d in state.gone and now >= state.gone[d] + grace for d in waiting)


def _waiting(state: RoundState) -> list[str]:
    return [device for device in state.expected if device not in state.answered | state.withdrawn]


def _take(state: RoundState, event: Received) -> None:
    device, message = event.device, event.message
    if isinstance(message, Withdraw):
        _check_withdrawal(state, device)
        return
    if device in state.withdrawn:
        raise Refusal("OutOfOrder", f"{device} sent {type(message).__name__} after it withdrew")
    if type(message) is not EXPECTED[state.phase]:
        raise Refusal("OutOfOrder", f"{device} sent {type(message).__name__} while {state.phase.value}")
    match state.stage, message:
        case server.Sharing() as stage, Share() as share:
            stage.add(device, share)
        case server.Collecting() as stage, Masked() as masked:
            vector = packing.unpack(masked.vector, state.length, state.plan.fixed.modulus_bits)
            stage.add(device, masked, vector, event.digest)
        case confirming.Confirming() as stage, Consistency() as confirmation:
            stage.add(device, confirmation, event.signature)
        case server.Unmasking() as stage, Unmask() as answer:
            stage.add(device, answer, state.seal_pair)
        case unmasked.Collecting() as stage, Masked() as update:
            stage.add(device, _opened(state, device, update))
        case unmasked.Confirming() as stage, Unmask():
            stage.add(device)
        case _:
            raise LocalProtocolError(f"{type(state.stage).__name__} can't stand in {state.phase.value}")


def _missed(state: RoundState, device: str, message: Message) -> tuple[Effect, ...]:
    """Return QUORUM for a survivor that confirms once it is out: a device that was away may never have got it."""
    if state.quorum is None or device not in state.expected or message != Consistency(survivors=state.survivors):
        return ()
    return (ToCohort(devices=(device,), message=state.quorum),)


def _check_withdrawal(state: RoundState, device: str) -> None:
    """Refuse one at another time than between SHARES and the device's own vector: then it changes nothing."""
    if state.phase is not Phase.COLLECTING or device in state.answered:
        raise Refusal("OutOfOrder", f"{device} withdraws while {state.phase.value}, or after its vector")
    if device not in state.expected:
        raise Refusal("NotADealer", f"{device} withdraws and dealt no shares")


def _opened(state: RoundState, device: str, message: Masked) -> Ring:
    if state.unpack is None:
        raise LocalProtocolError("a cohort without masks knows how to read an update")
    if device not in state.seal_keys:
        raise Refusal("NotAMember", f"{device} is not in cohort {state.name}")
    public = state.seal_keys[device]
    packed = unmasked.opened_update(state.seal_pair, public, state.context, device, message.vector)
    return state.unpack(packed)


def _close(state: RoundState, now: float) -> tuple[RoundState, tuple[Effect, ...]]:
    try:
        return _closed(state, now)
    except Aborted as abort:
        ended = dataclasses.replace(state, phase=TRANSITIONS[state.phase]["failed"], stage=None)
        return ended, (Failed(reason=abort.reason, detail=abort.detail, device=abort.device),)


def _closed(state: RoundState, now: float) -> tuple[RoundState, tuple[Effect, ...]]:
    strict = state.phase is Phase.COLLECTING and state.plan.profile == STRICT
    phase = TRANSITIONS[state.phase]["enough to confirm" if strict else "enough"]
    following: Stage | None = None
    effects: tuple[Effect, ...]
    expected: tuple[str, ...] = ()
    survivors, shown = state.survivors, state.quorum
    match state.stage:
        case server.Sharing() as stage:
            following, answers = stage.close()
            effects = tuple(ToDevice(device=device, message=shares) for device, shares in answers.items())
            expected = tuple(answers)
        case server.Collecting() | unmasked.Collecting() as stage:
            following, message = stage.close()
            expected, survivors = following.survivors, message.survivors
            effects = (ToCohort(devices=expected, message=message),)
            if strict and isinstance(following, server.Unmasking):
                following = confirming.Confirming(following, message)
        case confirming.Confirming() as stage:
            following, shown = stage.close()
            expected = following.survivors
            effects = (ToCohort(devices=expected, message=shown),)
        case server.Unmasking() | unmasked.Confirming() as stage:
            total = stage.close(state.plan.fixed.modulus_bits, state.spread)
            effects = (Opened(total=total, included=stage.survivors, recovered=stage.recovered, survivors=survivors),)
        case _:
            raise LocalProtocolError(f"nothing can be closed in {state.phase.value}")
    deadline = now + state.windows.of(phase) if TRANSITIONS[phase] else state.deadline
    state = dataclasses.replace(
        state,
        phase=phase,
        stage=following,
        expected=expected,
        answered=frozenset(),
        survivors=survivors,
        quorum=shown,
        deadline=deadline,
    )
    return state, effects
