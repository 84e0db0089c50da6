"""A fleet on a broker under attack: noise and forgeries on every topic, and the model is the one of a quiet fleet."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile_bytes import hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import CodecError
from accord.link import Delivery
from accord.plan import Fixed, Plan, Task, Training
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.pipeline import Contribution
from accord.wire import chunks, topics
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, TAGS, Beat, Have, State
from aggregator.coordinator_values import Request
from simulation.fleet import SimulatedFleet

LAYOUT = Layout((("w", (20_000,)),))
"""Larger than a piece, so that models and updates travel in pieces too."""
NAMES = tuple(f"dev-{at}" for at in range(4))
STRANGER = SigningKey(b"s" * 32)
Handle = Callable[[Delivery], None]


class Worker:
    """Finds the same change each time."""

    def __init__(self, number: int) -> None:
        self.number = number

    def work(self, plan: Plan, params: bytes) -> Contribution:
        delta = np.linspace(-1, 1, LAYOUT.size, dtype=np.float32) / (self.number + 1)
        return Contribution(rows=10, delta=delta, figures={"count": 2, "loss": 1, "correct": 1})


def fleet() -> SimulatedFleet:
    return SimulatedFleet(
        workers={name: Worker(at) for at, name in enumerate(NAMES)},
        layout=LAYOUT,
        params=np.zeros(LAYOUT.size, "<f4").tobytes(),
        bundle=b"bundle",
        entropy=SeededEntropy(5),
    )


REQUEST = Request(
    purpose="train",
    devices=len(NAMES),
    cohorts=1,
    floor=3,
    cap=100,
    training=Training(epochs=1, batch_size=8, learning_rate=1, momentum=0, proximal=0),
    fixed=Fixed(value_bits=16, modulus_bits=32, exponents=(0,), largest_weight=10),
    task=Task(kind="classification", outputs=2, target_exponent=0, transform="none"),
    length=LAYOUT.size,
    profile="standard",
)


def closed(attacked: SimulatedFleet) -> tuple[np.ndarray[Any, Any], dict[str, list[float]]]:
    found = attacked.round(REQUEST, NAMES, dropouts=False).closed
    assert found is not None
    assert (found.included, found.attempt) == (NAMES, 1)
    (total,) = found.totals
    assert total.mean is not None
    return total.mean, dict(total.figures)


def hint(topic: str, payload: bytes) -> bool:
    """Return whether a payload is a birth, a will or a heartbeat: unsigned, and believed as far as a hint goes."""
    for kind, message in (("state", State), ("beat", Beat)):
        if topic.endswith(kind):
            try:
                message.decode(payload)
            except CodecError:
                return False
            return True
    return False


def forged(payload: bytes) -> list[bytes]:
    """Return what a stranger makes of a letter, its own signature and other letters about pieces, or of a piece."""
    try:
        letter = Envelope.decode(payload)
    except CodecError:
        return other_pieces(payload)
    bodies = {letter.tag: letter.payload}
    bodies |= {
        TAG_OF[type(body)]: body.encode() for body in (chunks.manifest(b"lie"), Have(object=bytes(32), have=b""))
    }
    return [
        seal(tag, body, key=STRANGER, sender=letter.sender, recipient=letter.recipient, context=letter.context).encode()
        for tag, body in bodies.items()
        if tag in TAGS and tag != "get/1"
    ]


def other_pieces(payload: bytes) -> list[bytes]:
    """Return a piece with other bytes, and one of another object."""
    try:
        piece = chunks.Piece.decode(payload)
    except CodecError:
        return []
    return [
        dataclasses.replace(piece, **changes).encode()
        for changes in ({"data": piece.data[:-1] + b"?"}, {"object": bytes(32)}, {"index": 9})
    ]


def attack(handle: Handle, draw: Callable[[Any], Any], where: Callable[[Delivery], list[str]]) -> Handle:
    """Return a `handle` that is fed lies before each honest delivery."""

    def attacked(delivery: Delivery) -> None:
        payload = delivery.payload
        for _ in range(draw(st.integers(0, 1))):
            topic = draw(st.sampled_from(where(delivery)))
            lie = draw(hostile(payload[:2_000]) | st.sampled_from([b"", *forged(payload)]))
            if not hint(topic, lie):
                handle(Delivery(topic=topic, payload=lie))
        for lie in forged(payload):
            handle(Delivery(topic=delivery.topic, payload=lie))
        handle(delivery)

    return attacked


def heard(tell: Callable[[Any], None], names: set[str]) -> Callable[[Any], None]:
    """Return a `told` that also keeps the names of refusals."""

    def kept(effect: Any) -> None:
        names.add(getattr(effect, "reason", ""))
        tell(effect)

    return kept


def to_aggregator(delivery: Delivery) -> list[str]:
    """Return topics on which a lie to the aggregator may come; the last ones are nobody's."""
    leaves = ("state", "beat", "req", "s0/" + "0" * 32)
    ups = [topics.up("simulated", name, leaf) for name in (NAMES[0], "dev-9") for leaf in leaves]
    return [delivery.topic, *ups, topics.aggregator_state("simulated"), topics.up("t", "dev-0", "state"), "fl", ""]


def to_device(delivery: Delivery) -> list[str]:
    """Return topics on which a lie to a device may come."""
    downs = [topics.down("simulated", NAMES[0], leaf) for leaf in ("cmd", "rsp", "gap")]
    return [delivery.topic, *downs, topics.piece("simulated", "0" * 64), topics.job("simulated", "job", "model"), ""]


@pytest.fixture(scope="module")
def quiet() -> tuple[np.ndarray[Any, Any], dict[str, list[float]]]:
    return closed(fleet())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_model_is_that_of_a_quiet_fleet(
    quiet: tuple[np.ndarray[Any, Any], dict[str, list[float]]], data: Any
) -> None:
    attacked = fleet()
    transport = attacked._transport
    transport.handle = attack(transport.handle, data.draw, to_aggregator)  # type: ignore[method-assign]
    told: set[str] = set()
    for device in attacked.devices.values():
        device._agent.handle = attack(device._agent.handle, data.draw, to_device)  # type: ignore[method-assign]
        device._agent._told = heard(device._agent._told, told)
        fetching = device._agent._fetching
        fetching._data, fetching._digest = b"", b""  # so that the model comes in pieces, and not with the bundle
    mean, figures = closed(attacked)
    assert np.array_equal(mean, quiet[0])
    assert figures == quiet[1]
    assert attacked.coordinator.online == set(NAMES)
    assert told >= {"BadSignature", "BadPiece", "ForeignPiece"}
    assert all(device.participations == 1 for device in attacked.devices.values())
