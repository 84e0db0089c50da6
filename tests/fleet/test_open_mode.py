"""Open mode: each device sends its own largest values, sealed to the aggregator, and never with masks."""

import dataclasses

import numpy as np
import pytest
from crash_world import World as Running

from accord.errors import Refusal, UsageError
from accord.plan import Update
from accord.secagg import unmasked
from accord.update import compression
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import opened
from accord.wire.secure_sum import Masked
from aggregator import coordinator_values as agg
from aggregator.cli import text_of
from edge_sdk import acceptance
from edge_sdk import session_values as dev
from simulation.in_process import simulate
from tests.fleet.queue_world import LAYOUT, World, expected_mean
from tests.update.test_open_updates import form

TOPK = Update(kind="topk", share=1_000_000, feedback=10, bits=8, compression="zlib")


def test_rounds_in_open_mode_give_the_mean_and_what_is_left_comes_later() -> None:
    world = World(6)
    few = dataclasses.replace(TOPK, share=200_000)
    sums, wanted = np.zeros(LAYOUT.size), 0.0
    for _ in range(24):
        closed = world.run(profile="off", update=few)
        assert closed is not None
        mean = closed.totals[0].mean
        assert mean is not None
        sums += mean
        wanted += expected_mean(closed.included)
    late = 6 * wanted / 24
    assert (sums > wanted - late).all(), "one value of six at a time, and yet all of them, at most six rounds later"
    assert (sums < wanted + 1e-3).all(), "and none of it twice"
    assert not world.of(agg.Log) + world.of(dev.Refused)


@pytest.mark.parametrize("name", compression.COMPRESSIONS)
@pytest.mark.parametrize("gone", [3, 4])
def test_devices_that_fall_silent_change_nothing_for_the_rest(gone: int, name: str) -> None:
    world = World(7, mute=lambda device, n: device == "dev-02" and n == gone)
    closed = world.run(profile="off", update=dataclasses.replace(TOPK, compression=name))
    assert closed is not None
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)


def test_one_lying_device_is_refused_by_name_and_the_round_goes_on() -> None:
    """It is enrolled, signs and seals as it should, and what is inside is no update."""
    world = World(6)

    def lying(name: str, event: dev.Event) -> None:
        session = world.sessions[name]
        for effect in session.step(event):
            if isinstance(effect, dev.Send) and Envelope.decode(effect.data).tag == "masked/1":
                world.queue.append(("aggregator:" + name, lie(world, name, effect.data)))
            elif isinstance(effect, dev.Work):
                lying(name, dev.Worked(found=world.contribution(name)))
            elif isinstance(effect, dev.Send):
                world.queue.append(("aggregator:" + name, effect.data))
            elif isinstance(effect, dev.Fetch):
                lying(name, dev.Fetched(params_digest=effect.params_digest, bundle_digest=effect.bundle_digest))

    honest = world.device
    world.device = lambda name, event: (lying if name == "dev-03" else honest)(name, event)  # type: ignore[method-assign]
    closed = world.run(profile="off", update=TOPK)
    assert closed is not None
    assert "dev-03" not in closed.included
    assert len(closed.included) == 5
    assert {(log.device, log.reason) for log in world.of(agg.Log)} == {("dev-03", "CorruptUpdate")}
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)


def lie(world: World, name: str, data: bytes) -> bytes:
    """Seal other bytes than the device's update under its own keys."""
    letter, state = Envelope.decode(data), world.sessions[name]._state
    attempt = state.current()
    assert attempt.plan is not None
    assert attempt.join is not None
    pair, public = attempt.join.sealing, attempt.plan.seal_key
    vector = unmasked.sealed_update(pair, public, attempt.second, name, b"\xff" * 60)
    sealed = dataclasses.replace(opened(letter, Masked), vector=vector)
    return seal(
        letter.tag,
        sealed.encode(),
        key=state.identity.key,
        sender=name,
        recipient=letter.recipient,
        context=letter.context,
    ).encode()


@pytest.mark.parametrize(
    ("reason", "limits", "update"),
    [
        ("Unmasked", {"allow_unmasked": False}, TOPK),
        ("LargeUpdate", {"largest_update": 60}, TOPK),
        ("LargeUpdate", {"largest_update": 40}, Update()),
    ],
)
def test_a_device_refuses_by_name_before_anything_is_charged(
    reason: str, limits: dict[str, object], update: Update
) -> None:
    world = World(4, **limits)
    assert world.run(profile="off", update=update) is None
    assert {refused.reason for refused in world.of(dev.Refused)} == {reason}
    assert all(session.ledger.participations == 0 for session in world.sessions.values())


ZSTD_ONLY = dataclasses.replace(TOPK, compression="zstd")


def test_a_device_without_the_compressor_is_left_out_before_anybody_counts_on_it() -> None:
    """It says at check-in what it has; the round waits for nobody, and both sides name the reason."""
    world = World(6, compressors={"dev-02": ("zlib",), "dev-04": ("brotli", "zlib")})
    closed = world.run(profile="off", update=ZSTD_ONLY, devices=4)
    assert closed is not None
    assert closed.included == ("dev-00", "dev-01", "dev-03", "dev-05")
    assert closed.dropped == ()
    declined = world.of(agg.Declined)
    assert {(one.device, one.reason) for one in declined} == {(d, "NoCompressor") for d in ("dev-02", "dev-04")}
    assert all("zstd" in one.detail for one in declined)
    assert {refused.reason for refused in world.of(dev.Refused)} == {"NoCompressor"}
    assert not world.of(agg.Log)
    assert all(world.sessions[one.device].ledger.participations == 0 for one in declined)
    closed = world.run(profile="off", update=TOPK)
    assert closed is not None
    assert len(closed.included) == 6, "zlib they have"


def test_a_round_that_nobody_can_compress_for_ends_by_name() -> None:
    world = World(4, compressors={f"dev-{number:02d}": () for number in range(4)})
    assert world.run(profile="off", update=TOPK) is None
    assert {ended.reason for ended in world.of(agg.Aborted)} == {"TooFewDevices"}
    assert len(world.of(agg.Declined)) == 4 * 3, "each device in each of three attempts"


@pytest.mark.parametrize("dies", [False, True])
def test_the_record_of_a_round_names_whom_it_went_without_whoever_loses_power(dies: bool) -> None:
    world = Running(rounds=1, profile="off", update="topk:0.5:8:zstd", compressors={"dev-03": ("zlib",)})
    if dies:
        world.run(until=lambda: any(fact["event"] == "declined" for fact in world.told))
        world.fuse.at = world.fuse.count
    world.run()
    assert world.crashes == int(dies)
    (told,) = [fact for fact in world.told if fact["event"] == "declined"]
    assert (told["device"], told["reason"]) == ("dev-03", "NoCompressor")
    assert "without dev-03: NoCompressor" in text_of(told)
    trained, measured = (fact for fact in world.told if fact["event"] == "round")
    assert trained["declined"] == {"dev-03": "NoCompressor"}
    assert trained["included"] == ["dev-00", "dev-01", "dev-02"]
    assert trained["seconds"] < 30, "it is online, and still nobody waits for it until the window to join is over"
    assert measured["declined"] == {}
    assert len(measured["included"]) == 4, "the last evaluation asks for nothing that it lacks"


def test_a_device_that_comes_back_without_the_compressor_is_not_waited_for() -> None:
    """It loses power before each of its letters in turn, and its next start finds zlib alone."""
    went: list[dict[str, str]] = []
    for at in range(20):
        world = Running(rounds=1, profile="off", update="topk:0.5:8:zstd")
        device = world.devices["dev-03"]
        device.fuse.at, device.later = at, ("zlib",)
        world.run()
        if not world.crashes:
            continue
        trained = next(fact for fact in world.told if fact["event"] == "round")
        assert trained["seconds"] < 10, f"nobody waits for it until a window is over; power went at {at}"
        assert ("dev-03" in trained["included"]) != ("dev-03" in trained["declined"]), at
        went.append(trained["declined"])
    assert went.count({"dev-03": "NoCompressor"}) >= 4, "before its question, CHECK-IN, JOIN and its update"
    assert {} in went, "its update was there before"


def test_a_join_goes_with_the_compressor() -> None:
    """dev-00 joins, starts anew without zstd and checks in while others still join: no cohort counts on it."""
    world = World(5)
    held, openings = [], []

    def deliver() -> None:
        while world.queue:
            to, data = world.queue.popleft()
            tag = Envelope.decode(data).tag
            openings.extend([data] if tag == "opening/1" else [])
            if not to.startswith("aggregator:"):
                world.device(to, dev.Arrived(data=data))
            elif tag == "join/2" and not to.endswith("dev-00"):
                held.append((to, data))
            else:
                world.aggregator(agg.Arrived(device=to.partition(":")[2], data=data))

    world.aggregator(world.start(profile="off", update=ZSTD_ONLY))
    deliver()
    before = world.sessions["dev-00"]
    world.compressors = {"dev-00": ("zlib",)}
    world.enrol("dev-00", serial=0)
    world.sessions["dev-00"]._state.ledger = dataclasses.replace(before.ledger, round=0, attempt=0)
    world.queue.append(("dev-00", openings[0]))
    deliver()
    assert len(held) == 4, "nobody else has joined yet"
    world.queue.extend(held)
    closed = world.go_on()
    assert closed is not None
    assert closed.attempt == 1
    assert closed.included == ("dev-01", "dev-02", "dev-03", "dev-04")
    assert [(one.device, one.reason) for one in world.of(agg.Declined)] == [("dev-00", "NoCompressor")]
    assert world.now == 0.0
    assert world.run(profile="off", update=TOPK).included == tuple(world.sessions), "and it is back in the next round"


def test_a_device_believes_no_aggregator_that_offers_all_the_same() -> None:
    """The plan is refused as well: nothing is charged."""
    asked = form(ZSTD_ONLY)
    with pytest.raises(Refusal) as refused:
        acceptance.check_update(asked, dev.Limits(), ("zlib",))
    assert refused.value.reason == "NoCompressor"
    acceptance.check_update(asked, dev.Limits(), ("zlib", "zstd"))


def test_a_job_does_not_start_without_the_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "zstandard", None)
    with pytest.raises(UsageError, match=r"accord-fl\[zstd\]"):
        simulate("digits", update="topk:0.01:8:zstd", secure_aggregation=False)


def test_masks_and_open_updates_contradict_each_other() -> None:
    with pytest.raises(Refusal) as refused:
        World(4).run(profile="standard", update=TOPK)
    assert refused.value.reason == "OpenUpdate"
    with pytest.raises(UsageError, match="--secure-aggregation off"):
        simulate("digits", update="topk:0.01:8")


@pytest.mark.parametrize("update", ["topk:0.05:8", "topk:0.05:1:zstd", "ternary:0.05"])
def test_a_simulation_learns_in_open_mode_whoever_loses_power(update: str) -> None:
    history = simulate(
        "digits",
        update=update,
        secure_aggregation=False,
        rounds=12,
        devices=8,
        model="mlp:32",
        local_epochs=4,
        dropout=0.2,
        lr=0.1,
    )
    assert history.final.accuracy is not None
    assert history.final.accuracy > 0.8
    assert all(row.payload_bytes_up < 2_000 for row in history.rounds), "float32 would be 10,000"
