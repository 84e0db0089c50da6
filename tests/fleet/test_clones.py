"""A copied card and a restored old state folder are barred by name; a device that only loses power never is."""

from copy import deepcopy
from pathlib import Path

import pytest
from crash_world import CLOCK, JOB, TENANT, Device, World
from forked_fleet import Fleet, sent
from hypothesis import given
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.files.memory import MemoryFiles
from accord.wire.check_in import CheckIn
from accord.wire.envelope import Envelope
from accord.wire.messages import Certificate
from aggregator import coordinator_values as agg
from aggregator import noted
from aggregator.audit import entries
from aggregator.audit.folder import AuditFolder
from aggregator.audit.log import AuditLog
from aggregator.audit.salts import Salts
from aggregator.chronicle import AuditChronicle
from aggregator.standing import SEEN_TWICE, SEQUENCE_BACK, Standing, after

NAME = "dev-01"
KEY, OTHER = b"k" * 32, b"o" * 32


def check_in(sequence: int, birth: int) -> CheckIn:
    return CheckIn(
        nonce=bytes(16),
        job=JOB,
        round=1,
        attempt=1,
        base_version=0,
        params_digest=bytes(32),
        roles_version=1,
        certificate=b"c",
        log_size=0,
        sequence=sequence,
        birth=birth,
        compressors=(),
    )


def certificate(serial: int, identity: bytes = KEY) -> Certificate:
    return Certificate(device=NAME, identity=identity, serial=serial, expires=9)


LIFE = st.lists(st.sampled_from(["start", "check in", "take part"]), max_size=30)


@given(LIFE)
def test_a_device_that_only_goes_on_is_never_barred(life: list[str]) -> None:
    standing: Standing | None = None
    sequence, birth = 0, 1
    for act in life:
        if act == "start":
            birth += 1
        else:
            standing = after(standing, check_in(sequence, birth), certificate(3))
            if act == "take part":
                standing = standing.joined(sequence)
                sequence += 1
        assert standing is None or not standing.barred


@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 5))
def test_once_one_of_two_copies_took_part_the_other_bars_both(count: int, birth: int, rounds: int, starts: int) -> None:
    standing: Standing | None = None
    for more in range(rounds):
        standing = after(standing, check_in(count + more, birth), certificate(3)).joined(count + more)
    copy = after(standing, check_in(count, birth + starts), certificate(3))
    assert copy.barred == SEQUENCE_BACK
    original = after(copy, check_in(count + rounds, birth), certificate(3))
    assert original.barred, "nobody can tell which one is the copy"


def test_an_older_start_is_a_second_device() -> None:
    standing = after(None, check_in(4, 8), certificate(3))
    assert after(standing, check_in(4, 7), certificate(3)).barred == SEEN_TWICE
    assert not after(standing, check_in(4, 8), certificate(3)).barred
    assert not after(standing, check_in(4, 9), certificate(3)).barred


def test_only_another_key_with_a_higher_serial_ends_the_bar() -> None:
    barred = after(None, check_in(4, 8), certificate(3)).bar(SEQUENCE_BACK)
    assert after(barred, check_in(9, 9), certificate(3)).barred == SEQUENCE_BACK
    assert after(barred, check_in(9, 9), certificate(4)).barred == SEQUENCE_BACK, "renewed, it is the same key"
    anew = after(barred, check_in(0, 1), certificate(5, OTHER))
    assert anew == Standing(serial=5, identity=OTHER, sequence=0, birth=1)
    with pytest.raises(Refusal) as found:
        after(anew, check_in(5, 9), certificate(3))
    assert found.value.reason == "OldSerial"


STANDINGS = st.builds(
    Standing,
    serial=st.integers(0, 2**32),
    identity=st.binary(min_size=32, max_size=32),
    sequence=st.integers(0, 2**32),
    birth=st.integers(0, 2**63 - 1),
    barred=st.sampled_from(["", SEEN_TWICE]),
)


@given(st.one_of(st.none(), STANDINGS))
def test_the_journal_brings_back_where_a_device_stood(standing: Standing | None) -> None:
    event = agg.Arrived(device=NAME, data=b"letter", standing=standing)
    assert noted.event(noted.entry(event, 1.0, 2), lambda: None) == event


def test_the_journal_brings_back_the_revocation_list_of_a_round() -> None:
    request = World(3)._job().request()
    event = agg.Start(request=request, online=(), seed=bytes(32), checkpoint=b"c", revocations=b"list")
    assert noted.event(noted.entry(event, 1.0, 2), lambda: request) == event


def barred(world: World) -> dict[str, str]:
    return {name: s.barred for name, s in world.books._live.standings.items() if s.barred}


def put_in(device: Device, card: MemoryFiles) -> None:
    """Start the device with another card; the broker has one connection for one id, and the new one takes it over."""
    device.link.die()
    device.files, device.ledgers = card, []
    device.boot()


def rounds(world: World, count: int) -> None:
    world.run(until=lambda: len(world.books.records) >= count)


def test_a_restored_state_folder_is_barred_and_the_fleet_goes_on() -> None:
    world = World(5, rounds=3)
    device = world.devices[NAME]
    old = deepcopy(device.files)
    rounds(world, 2)
    put_in(device, old)
    world.run()
    assert barred(world) == {NAME: SEQUENCE_BACK}
    assert [r["status"] for r in world.books.records] == ["closed"] * 4
    assert [NAME in r["included"] for r in world.books.records] == [True, True, False, False]
    assert {r.reason for r in device.refused} == {"Barred"}
    assert "enrol it anew" in device.refused[0].detail
    named = [f["device"] for f in world.told if f.get("reason") == SEQUENCE_BACK]
    assert named == [NAME], "it is told once, and asked to wait from then on"


def test_a_clone_on_another_board_is_barred_with_its_original() -> None:
    world = World(5, rounds=3)
    device = world.devices[NAME]
    rounds(world, 1)
    copy = deepcopy(device.files)
    rounds(world, 2)
    original = device.files
    put_in(device, copy)
    rounds(world, 3)
    put_in(device, original)
    world.run()
    assert barred(world) == {NAME: SEQUENCE_BACK}
    assert [NAME in r["included"] for r in world.books.records] == [True, True, False, False]


def test_a_copy_that_comes_in_the_middle_of_an_attempt_is_barred() -> None:
    world = World(5, rounds=2)
    device = world.devices[NAME]
    rounds(world, 1)
    copy = deepcopy(device.files)
    world.run(until=lambda: len(world.letters(NAME, "join/2")) == 2)
    put_in(device, copy)
    world.run()
    assert barred(world) == {NAME: SEQUENCE_BACK}
    assert [r["status"] for r in world.books.records] == ["closed"] * 3


def test_nobody_waits_for_a_copy_that_was_offered_the_attempt() -> None:
    """The original was offered the plan and is gone before it joins; its copy, started less often, checks in."""
    world = World(5, rounds=1)
    device = world.devices[NAME]
    copy = deepcopy(device.files)
    device.link.die()
    device.boot()
    device.link.die()
    device.boot()
    world.run(until=lambda: bool(world.letters(NAME, "check-in/4")))
    put_in(device, copy)
    world.run()
    assert barred(world) == {NAME: SEEN_TWICE}
    first = next(fact for fact in world.told if fact["event"] == "round")
    assert NAME not in first["included"]
    assert first["seconds"] < 10, "four have joined, and the fifth is not waited for until the window is over"


def test_two_copies_that_join_one_attempt_are_seen() -> None:
    fleet = Fleet()
    log = fleet.log()
    attempt = fleet.honest(log)
    joins = []
    for number in (5, 6):  # two boards draw other keys
        session = fleet.session(0, entropy=number)
        joins.append(sent(fleet.asked(session, attempt)))
    (stood,) = attempt.letter(Envelope.decode(joins[0]), set(), 0.0)
    assert isinstance(stood, agg.Stood)
    assert stood.standing.sequence == 1
    assert attempt.letter(Envelope.decode(joins[0]), set(), 0.0) == (), "the same bytes again are the same device"
    told, *_, stood = attempt.letter(Envelope.decode(joins[1]), set(), 0.0)
    assert isinstance(told, agg.Log)
    assert told.reason == "JoinedBefore"
    assert isinstance(stood, agg.Stood)
    assert stood.standing.barred == SEEN_TWICE


def test_a_bar_is_in_the_audit_log_once_wherever_the_aggregator_dies(tmp_path: Path) -> None:
    for at in range(0, 40, 13):
        world = World(5, rounds=2)
        folder = AuditFolder(tmp_path / str(at))
        log = AuditLog(folder, key=world.fleet.aggregator, tenant=TENANT)
        world.chronicle = AuditChronicle(log, Salts(tmp_path / str(at) / "salts", SeededEntropy(1)), lambda: CLOCK)
        device = world.devices[NAME]
        old = deepcopy(device.files)
        rounds(world, 2)
        put_in(device, old)
        world.fuse.at = world.fuse.count + at
        world.run()
        assert world.crashes == 1, at
        bars = [entry for entry in log.read(0, log.size) if entry.kind == "bar"]
        assert [entry.subject for entry in bars] == [f"{NAME} {SEQUENCE_BACK}"], at
        expected = entries.of_bar(CLOCK, NAME, device.identity.key.public, SEQUENCE_BACK)
        assert [entry.digest for entry in bars] == [expected.digest], "what anybody can compute who knows the key"
        folder.close()


def test_a_bar_survives_the_aggregator_wherever_it_dies() -> None:
    for at in range(0, 45, 4):
        world = World(5, rounds=2)
        device = world.devices[NAME]
        old = deepcopy(device.files)
        rounds(world, 2)
        put_in(device, old)
        world.fuse.at = world.fuse.count + at
        world.run()
        assert world.crashes == 1, at
        assert barred(world) == {NAME: SEQUENCE_BACK}, at
        assert [NAME in r["included"] for r in world.books.records] == [True, True, False], at
