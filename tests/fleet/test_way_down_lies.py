"""Lies on the way down: each is refused by name, and the device fetches the snapshot."""

import dataclasses
import zlib
from collections.abc import Mapping

import pytest
from way_down_world import FIRST, HISTORY, LAST, LAYOUT, Device, Door, settle

from accord import prg
from accord.errors import Refusal
from accord.update.delta import Delta
from accord.wire import chunks
from aggregator.deltas import Deltas


class Lying(Deltas):
    """Serves what it is told to."""

    def __init__(self, data: bytes) -> None:
        super().__init__(LAYOUT, lambda _digest: None)
        self.data = data

    def between(self, held: bytes, wanted: bytes, snapshot: bytes) -> bytes:
        return self.data


def lies() -> Mapping[str, tuple[str, bytes]]:
    good = Deltas(LAYOUT, {prg.digest(HISTORY[5]): HISTORY[5]}.get)
    data = good.between(prg.digest(HISTORY[5]), prg.digest(LAST), LAST)
    assert data is not None
    delta = Delta.decode(data)
    one = delta.advances[0]
    bomb = dataclasses.replace(one, deflated=True, values=zlib.compress(bytes(1 << 25), 9))
    costly = (dataclasses.replace(one, rank=256, places=b"", values=b""),) * 5
    forged = dataclasses.replace(one, shifts=(one.shifts[0] + 1, one.shifts[1]))
    return {
        "cut short": ("CorruptDelta", data[:-7]),
        "no delta at all": ("CorruptDelta", b"\x80"),
        "a bomb": ("OversizeDelta", dataclasses.replace(delta, advances=(bomb,)).encode()),
        "minutes of work": ("CostlyDelta", dataclasses.replace(delta, advances=costly).encode()),
        "as large as the model": ("OversizeDelta", LAST),
        "from another version": ("ForeignDelta", dataclasses.replace(delta, base=bytes(32)).encode()),
        "forged": ("WrongDelta", dataclasses.replace(delta, advances=(forged,)).encode()),
        "one advance twice": ("WrongDelta", dataclasses.replace(delta, advances=(one, one)).encode()),
    }


@pytest.mark.parametrize("lie", lies())
def test_a_delta_that_does_not_hold_is_refused_by_name_and_the_snapshot_is_fetched(lie: str) -> None:
    reason, data = lies()[lie]
    door = Door(HISTORY)
    door.restart(Lying(data))
    device = Device(door, "dev-00", HISTORY[5])
    device.want(LAST)
    settle(door, device)
    assert device.refused == [reason]
    assert device.kept == [LAST]


def test_a_list_of_pieces_from_elsewhere_is_refused_by_name() -> None:
    door = Door(HISTORY)
    device = Device(door, "dev-00", HISTORY[5])
    manifest = chunks.manifest(b"data")
    letter = chunks.Merged(wanted=prg.digest(LAST), base=prg.digest(FIRST), manifest=manifest)
    with pytest.raises(Refusal, match="ForeignDelta"):
        device.fetching.merged(letter)
    device.want(LAST)
    with pytest.raises(Refusal, match="ForeignDelta"):
        device.fetching.merged(letter)
    settle(door, device)
    assert device.kept == [LAST]
    assert device.bytes == len(LAST)
