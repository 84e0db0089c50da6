"""One enrolled device that lies, or anybody who can write to a topic, does not stop the others or either side."""

import dataclasses
from typing import Any

import pytest
from doors import Worker
from recorded_fleet import CLOCK, IDENTITIES, KEYS, NAMES, OFFICE, Aggregator, Device, record, request

from accord.entropy import SeededEntropy
from accord.link import Delivery
from accord.link.memory import MemoryBroker
from accord.signing import SigningKey
from accord.wire import chunks, topics
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Have, State, opened
from accord.wire.secure_sum import Join
from aggregator import coordinator_values as agg
from aggregator.transport import Transport
from edge_sdk import session_values as dev
from edge_sdk.agent import Agent

LIAR, STRANGER = "dev-00", SigningKey(b"s" * 32)
SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
]
"""Points of order 1, 2 and 4, one of them not in its least form (RFC 7748, section 6.1)."""


def resigned(data: bytes, name: str, **changes: Any) -> bytes:
    """Return a JOIN with other fields, signed by the device itself."""
    letter = Envelope.decode(data)
    body = dataclasses.replace(opened(letter, Join), **changes)
    return seal(
        letter.tag, body.encode(), key=IDENTITIES[name], sender=name, recipient="aggregator", context=letter.context
    ).encode()


def round_with(changes: dict[str, Any], *, one_by_one: bool = False) -> tuple[Aggregator, list[str]]:
    """Run a round in which the liar joins with other keys, before others check in if the devices come one by one."""
    aggregator, devices = Aggregator(), {name: Device(name) for name in NAMES}
    reasons: list[str] = []
    queue, held = aggregator.take({"start": "round 1"})[0], []
    while queue or aggregator.closed is None:
        if not queue:
            queue, refused = aggregator.take({"time": aggregator.next_time})
            reasons += refused
        if queue:
            to, data = queue.pop(0)
            for letter in devices[to].feed(data)[0] if to in devices else []:
                lying = to == LIAR and Envelope.decode(letter).tag == TAG_OF[Join]
                held.append((to, resigned(letter, LIAR, **changes) if lying else letter))
        while held:
            sent, refused = aggregator.feed(*held.pop(0))
            queue, reasons = (sent + queue if one_by_one else queue + sent), reasons + refused
    return aggregator, reasons


@pytest.mark.parametrize("key", SMALL_ORDER, ids=["zero", "one", "minus_one", "p"])
@pytest.mark.parametrize("field", ["mask_key", "seal_key"])
def test_a_key_of_small_order_costs_its_own_device_the_round(key: bytes, field: str) -> None:
    aggregator, reasons = round_with({field: key})
    assert reasons == ["WeakKey"]
    assert aggregator.closed is not None
    assert aggregator.closed.included == NAMES[1:]
    assert aggregator.closed.attempt == 1


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("whose", NAMES[:2])
def test_an_identity_key_shown_as_a_key_of_the_round_costs_its_own_device_the_round(
    whose: str, one_by_one: bool
) -> None:
    aggregator, reasons = round_with({"mask_key": IDENTITIES[whose].public}, one_by_one=one_by_one)
    assert reasons == ([] if one_by_one and whose != LIAR else ["DuplicateKey"])
    assert aggregator.closed is not None
    assert aggregator.closed.included == NAMES[1:]
    assert aggregator.closed.attempt == 1


def test_a_second_device_with_the_identity_key_of_another_is_not_offered_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aggregator, twin = Aggregator(), SigningKey(IDENTITIES["dev-01"].seed)
    sent, _ = aggregator.take({"start": "round 1"})
    reasons = []
    for name, opening in sent[1:3]:
        device = Device(name)
        if name == "dev-02":
            certificate = KEYS.certificate(name, twin.public, 7)
            device.session.take_up(dataclasses.replace(device.session.identity, key=twin, certificate=certificate))
        letters, refused = device.feed(opening)
        offers, refused = aggregator.feed(name, letters[0])
        reasons.append((len(offers), refused))
    assert reasons == [(1, []), (0, ["DuplicateKey"])]


def agent(told: list[dev.Finished | dev.Refused]) -> Agent:
    link = MemoryBroker("t", SeededEntropy(1)).connect("dev-00")
    session = Device("dev-00").session
    return Agent(link=link, session=session, worker=Worker(), records=Worker(), job="j", told=told.append)


@pytest.mark.parametrize("body", [chunks.manifest(b"data"), Have(object=bytes(32), have=b"\x01")])
def test_a_forged_letter_about_pieces_is_told_and_the_agent_lives_on(body: chunks.Manifest | Have) -> None:
    told: list[dev.Finished | dev.Refused] = []
    device = agent(told)
    letter = seal(TAG_OF[type(body)], body.encode(), key=STRANGER, sender="aggregator", recipient="dev-00")
    device.handle(Delivery(topic=topics.down("t", "dev-00", "rsp"), payload=letter.encode()))
    assert [effect.reason for effect in told if isinstance(effect, dev.Refused)] == ["BadSignature"]
    opening = next(bytes.fromhex(entry["data"]) for entry in record() if entry.get("to") == "dev-00")
    device.handle(Delivery(topic=topics.job("t", "j", "round"), payload=opening))
    assert device.session.stage is dev.Stage.FETCHING


def transport(told: list[Any]) -> Transport:
    link = MemoryBroker("t", SeededEntropy(1)).connect("aggregator")
    return Transport(
        link=link,
        coordinator=Aggregator().coordinator,
        objects={},
        now=lambda: 0.0,
        clock=lambda: CLOCK,
        told=told.append,
    )


NO_TOPICS = ("fl/v1/t/dev/dev-00/up/other", "")


@pytest.mark.parametrize(
    "topic",
    [
        topics.aggregator_state("t"),
        topics.up("other", "dev-00", "state"),
        topics.up("other", "dev-00", "beat"),
        topics.down("t", "dev-00", "cmd"),
        topics.job("t", "j", "round"),
        topics.piece("t", "00" * 32),
        *NO_TOPICS,
    ],
)
def test_a_foreign_topic_makes_nobody_present(topic: str) -> None:
    told: list[agg.Log] = []
    door = transport(told)
    door.handle(Delivery(topic=topic, payload=State(online=True, birth=1, job="j").encode()))
    assert [log.reason for log in told] == ["BadMessage" if topic in NO_TOPICS else "ForeignTopic"]
    assert door.coordinator.online == set()


def test_the_coordinator_and_its_transport_name_bad_bytes_and_bad_signatures_alike() -> None:
    entries = record()
    check_in = bytes.fromhex(next(e["data"] for e in entries if e.get("from") == "dev-00"))
    told: list[agg.Log] = []
    door = transport(told)
    door.step(agg.Start(request=request(), online=(), seed=bytes(32), checkpoint=OFFICE.checkpoint))
    forged = Envelope.decode(check_in)
    forged = dataclasses.replace(forged, signature=bytes(64))
    manifest = seal("manifest/1", chunks.manifest(b"x").encode(), key=STRANGER, sender="dev-00", recipient="aggregator")
    for data in (b"noise", forged.encode(), manifest.encode()):
        door.handle(Delivery(topic=topics.up("t", "dev-00", "req"), payload=data))
        door.step(agg.Arrived(device="dev-00", data=data))
    reasons = [log.reason for log in told if isinstance(log, agg.Log)]
    assert reasons == ["BadMessage", "BadMessage", "BadSignature", "BadSignature", "NotOffered", "NotOffered"]
