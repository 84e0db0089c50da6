"""The model that a device holds, on its disk: whole every eighth version, and the deltas between."""

from itertools import pairwise
from pathlib import Path

import pytest
from way_down_world import FIRST, LAYOUT, history

from accord import prg
from accord.files import Disk, FileError
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles
from aggregator.deltas import Deltas
from edge_sdk.held_model import STEPS
from edge_sdk.journal import DiskRecords


def steps() -> tuple[list[bytes], list[bytes]]:
    """Return versions and the delta that leads to each; none leads to the first."""
    versions = history(2 * STEPS + 4)
    known = {prg.digest(one): one for one in versions}
    led = [
        Deltas(LAYOUT, known.get).between(prg.digest(one), prg.digest(after), after)
        for one, after in pairwise(versions)
    ]
    return versions, [b"", *(one or b"" for one in led)]


VERSIONS, LED = steps()


def test_every_eighth_version_is_written_whole_and_each_start_finds_the_last_one() -> None:
    disk = Disk(MemoryFiles())
    written, before = [], 0
    records = DiskRecords(Path("/state"), "j", disk)
    for at, (model, led) in enumerate(zip(VERSIONS, LED, strict=True)):
        records.hold(model, led)
        written.append(sum(records.written.values()) - before)
        if at % 3 == 0:  # as after a power cut
            records = DiskRecords(Path("/state"), "j", disk)
            assert records.model(1 << 20, LAYOUT) == model
        before = sum(records.written.values())
        names = disk.names(Path("/state"))
        assert sorted(names) == ["model", *(f"step-{number}" for number in range(1, 1 + at % (STEPS + 1)))]
    whole = [at for at, size in enumerate(written) if size == len(FIRST)]
    assert whole == [0, STEPS + 1, 2 * STEPS + 2]
    assert all(0 < size < 0.1 * len(FIRST) for at, size in enumerate(written) if at not in whole)


@pytest.mark.parametrize("count", [1, 2, 4, STEPS, STEPS + 1, STEPS + 3])
def test_wherever_the_power_goes_the_disk_holds_one_version_or_the_other_whole(count: int) -> None:
    """The version after so many is written: by a step, or whole, where what led to those before goes."""

    def before(disk: Disk) -> None:
        records = DiskRecords(Path("/state"), "j", disk)
        for model, led in zip(VERSIONS[:count], LED[:count], strict=True):
            records.hold(model, led)

    def after(disk: Disk) -> None:
        records = DiskRecords(Path("/state"), "j", disk)
        assert records.model(1 << 20, LAYOUT) == VERSIONS[count - 1]
        records.hold(VERSIONS[count], LED[count])

    seen = set()
    for _, _, disk in crash_points(after, before):
        found = DiskRecords(Path("/state"), "j", disk)
        held = found.model(1 << 20, LAYOUT)
        seen.add(held)
        at = VERSIONS.index(held)
        found.hold(VERSIONS[at + 1], LED[at + 1])
        assert DiskRecords(Path("/state"), "j", disk).model(1 << 20, LAYOUT) == VERSIONS[at + 1], (
            "it goes on from there"
        )
    assert seen == {VERSIONS[count - 1], VERSIONS[count]}


@pytest.mark.parametrize("damage", [b"", b"\0", b"of another kind"])
def test_a_damaged_step_is_where_the_way_ends(damage: bytes) -> None:
    files = MemoryFiles()
    records = DiskRecords(Path("/state"), "j", Disk(files))
    for model, led in zip(VERSIONS[:5], LED[:5], strict=True):
        records.hold(model, led)
    Disk(files).write_atomic(Path("/state/step-3"), damage + LED[3][len(damage) + 1 :])
    found = DiskRecords(Path("/state"), "j", Disk(files))
    assert found.model(1 << 20, LAYOUT) == VERSIONS[2]
    found.hold(VERSIONS[3], LED[3])
    assert DiskRecords(Path("/state"), "j", Disk(files)).model(1 << 20, LAYOUT) == VERSIONS[4], (
        "what was behind it counts"
    )


def test_after_a_version_that_was_not_written_the_next_one_is_written_whole() -> None:
    files = MemoryFiles()
    records = DiskRecords(Path("/state"), "j", Disk(files))
    records.hold(VERSIONS[0])
    files.read_only = True
    with pytest.raises(FileError):
        records.hold(VERSIONS[1], LED[1])
    files.read_only = False
    records.hold(VERSIONS[2], LED[2])
    assert DiskRecords(Path("/state"), "j", Disk(files)).model(1 << 20, LAYOUT) == VERSIONS[2]


def test_deltas_that_come_to_the_size_of_the_model_are_not_worth_a_start_that_follows_them() -> None:
    disk = Disk(MemoryFiles())
    records = DiskRecords(Path("/state"), "j", disk)
    large = bytes(len(FIRST) // 2 - 1)
    for at, led in enumerate((b"", large, large, large, large)):
        records.hold(VERSIONS[at], led)
        names = disk.names(Path("/state"))
        assert sorted(names) == ["model", "step-1", "step-2"][: 1 + at % 3], "two are smaller than the model together"
