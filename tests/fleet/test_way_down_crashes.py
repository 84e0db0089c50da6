"""The way down through crashes: a device holds one version or the other whole, and is led on from it."""

from pathlib import Path

import crash_world
import pytest
from way_down_world import HISTORY, LAST, LAYOUT, PIECES, Device, Door, settle

from accord.files import Disk
from accord.files.crash import Crash
from accord.files.memory import MemoryFiles
from accord.tensors import Layout
from accord.update.delta import Delta
from accord.wire import chunks
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, opened
from aggregator.cli import text_of
from aggregator.way_down import REASONS
from edge_sdk.journal import DiskRecords


def test_a_device_that_lost_power_holds_what_it_held_and_a_damaged_file_costs_a_snapshot() -> None:
    files = MemoryFiles()
    records = DiskRecords(Path("/state"), "j", Disk(files))
    assert records.model(1 << 20, LAYOUT) == b""
    records.hold(HISTORY[0])
    records.hold(HISTORY[5])
    files.crash(Crash(names="lost", data="lost"))
    held = DiskRecords(Path("/state"), "j", Disk(files)).model(1 << 20, LAYOUT)
    assert held == HISTORY[5]
    for found, bytes_down in ((held, 0.11 * LAYOUT.size), (held[:-4], len(LAST)), (b"\1" + held[1:], len(LAST))):
        door = Door(HISTORY)
        device = Device(door, "dev-00", found)
        device.want(LAST)
        settle(door, device)
        assert device.kept == [LAST]
        assert device.bytes <= bytes_down
    assert records.model(100, LAYOUT) == b"", "a file that is too large is not read"


@pytest.mark.parametrize("who", ["dev-01", "aggregator"])
def test_devices_come_through_crashes_on_deltas(who: str) -> None:
    layout = Layout((("w", (400, 2)),))

    def fuse(world: crash_world.World) -> crash_world.Fuse:
        return world.fuse if who == "aggregator" else world.devices[who].fuse

    calm = crash_world.World(rounds=3, layout=layout)
    calm.run()
    calm.check()
    acts = fuse(calm).count
    for at in range(acts // 3, acts, acts // 6):
        world = crash_world.World(rounds=3, layout=layout)
        fuse(world).at = at
        world.run()
        world.check()
        assert world.crashes == 1, at
        assert not any(device.refused for device in world.devices.values()), at
        asked = [opened(letter, chunks.Get) for letter in world.letters("dev-01", TAG_OF[chunks.Get])]
        begun = {one.object: one.held for one in reversed(asked)}
        assert asked[0].held == b"", "a device of this world begins without a version"
        assert [held == b"" for held in begun.values()].count(True) == 1, "and holds one ever after"
        down = [Envelope.decode(data) for topic, data in world.sent["aggregator"] if topic.endswith("/dev-01/down/rsp")]
        assert [letter.tag for letter in down].count(TAG_OF[chunks.Merged]) >= 2, at


def served(world: crash_world.World) -> list[Delta]:
    """Return the deltas that the aggregator published, each of one piece."""
    pieces = [chunks.Piece.decode(data) for topic, data in world.sent["aggregator"] if topic.startswith(PIECES)]
    lists = [Envelope.decode(data) for topic, data in world.sent["aggregator"] if topic.endswith("/down/rsp")]
    merged = {opened(letter, chunks.Merged).manifest.object for letter in lists if letter.tag == TAG_OF[chunks.Merged]}
    return [Delta.decode(piece.data) for piece in pieces if piece.object in merged]


def test_wherever_the_aggregator_dies_the_next_round_is_led_to_by_factors() -> None:
    """One that is made from the two snapshots never has factors: what led to a version came through the crash."""

    def world() -> crash_world.World:
        return crash_world.World(rounds=4, layout=Layout((("w", (24, 24)),)), update="low-rank:2:4")

    calm = world()
    calm.run()
    assert {one.rank for delta in served(calm) for one in delta.advances} == {2}
    told = [text_of(fact) for fact in calm.told if fact["event"] == "round" and fact["purpose"] == "train"]
    assert len(told) == 4
    assert all(line.endswith(f"released as factors: {REASONS['factors']}") for line in told)
    released = world()
    released.run(until=lambda: len(released.books.records) == 2)
    for at in range(released.fuse.count - 4, released.fuse.count + 14, 2):
        hurt = world()
        hurt.fuse.at = at
        hurt.run()
        assert hurt.crashes == 1, at
        assert [record["status"] for record in hurt.books.records] == ["closed"] * 5, at
        assert {one.rank for delta in served(hurt) for one in delta.advances} == {2}, at
        assert not any(device.refused for device in hurt.devices.values()), at
