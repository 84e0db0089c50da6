"""The way down: a device that holds a version gets what leads from there to the newest one, and never a wrong model."""

from collections.abc import Mapping

import numpy as np
import pytest
from way_down_world import FIRST, HISTORY, LAST, LAYOUT, PIECES, Device, Door, settle

from accord import prg
from accord.link import Delivery
from accord.update import basis, subspace
from accord.update.snapshot import first
from accord.update.subspace import Subspace
from accord.wire import chunks
from aggregator.advances import Advances
from aggregator.deltas import BACK, Deltas
from aggregator.releases import Releases


@pytest.mark.parametrize("behind", [1, 3, 6])
def test_a_device_fetches_one_delta_however_far_it_is_behind(behind: int) -> None:
    door = Door(HISTORY)
    device = Device(door, "dev-00", HISTORY[-1 - behind])
    device.want(LAST)
    settle(door, device)
    assert device.done
    assert device.kept == [LAST]
    assert device.fetching.held(prg.digest(LAST)) == LAST
    assert device.refused == []
    assert device.bytes < 0.11 * LAYOUT.size * behind < len(LAST)


def test_a_device_that_missed_low_rank_rounds_follows_them_one_by_one() -> None:
    releases, advances, rng = Releases(LAYOUT), Advances(LAYOUT), np.random.default_rng(0)
    params = rng.normal(0, 0.05, LAYOUT.size).astype(np.float32)
    versions = [first(params, 4)]
    for at in range(5):
        columns = rng.normal(size=((250, 400)[at % 2], 4))
        support = subspace.encode([basis.rounded(at % 2, basis.orthonormal(columns))])
        found = Subspace(LAYOUT, 4, support)
        values = rng.normal(0, 1e-2, sum(found.spans)).astype(np.float32)
        params, made = releases.after(params, values, found)
        versions.append(first(params, 4))
        advances.add(prg.digest(versions[-2]), prg.digest(versions[-1]), made)
    door = Door(versions)
    door.restart(Deltas(LAYOUT, door.versions.get, advances.since))
    for behind in (1, 3, 5):
        device = Device(door, f"dev-{behind:02d}", versions[-1 - behind])
        device.want(versions[-1])
        settle(door, device)
        assert device.kept == [versions[-1]]
        assert device.refused == []
        assert device.bytes < 0.05 * LAYOUT.size * behind
    door.restart(Deltas(LAYOUT, door.versions.get, Advances(LAYOUT).since))
    device = Device(door, "dev-00", versions[0])
    device.want(versions[-1])
    settle(door, device)
    assert device.kept == [versions[-1]], "without them there is the merged one"
    assert 0.3 * LAYOUT.size < device.bytes < len(LAST)


def test_whoever_holds_nothing_or_what_nobody_knows_fetches_the_snapshot() -> None:
    for held in (b"", b"of another job", HISTORY[2]):
        door = Door(HISTORY[3:])
        device = Device(door, "dev-00", held)
        device.want(LAST)
        settle(door, device)
        assert device.kept == [LAST]
        assert device.refused == []
        assert device.bytes == len(LAST)


def test_a_delta_is_published_once_for_all_who_ask_together() -> None:
    door = Door(HISTORY)
    devices = [Device(door, f"dev-{number:02d}", HISTORY[4]) for number in range(3)]
    for device in devices:
        device.want(LAST)
    sent = door.transport.link
    settle(door, *devices)
    assert all(device.done for device in devices)
    (size,) = {device.bytes for device in devices}
    assert size < sent.bytes_up < 2 * size, "three letters, and one delta"


def test_a_download_goes_on_where_it_was_and_through_a_restart_of_the_aggregator() -> None:
    door = Door(HISTORY)
    door.versions = {prg.digest(data): data for data in (FIRST, dense())}
    door.restart()
    wanted = dense()
    device = Device(door, "dev-00", FIRST)
    device.want(wanted)
    lost = []

    def lose(delivery: Delivery) -> bool:
        if delivery.topic.startswith(PIECES) and chunks.Piece.decode(delivery.payload).index == 1:
            lost.append(delivery)
            return True
        return False

    settle(door, device, lose=lose)
    assert len(lost) == 1
    assert not device.done
    before = device.bytes
    door.transport.link.close()
    door.restart()
    device.fetching.ask_again()
    settle(door, device)
    assert device.kept == [wanted]
    assert 0 < device.bytes - before <= chunks.CHUNK, "one piece went again"
    assert device.refused == []


def dense() -> bytes:
    """Return a version that is more than one piece away from the first."""
    releases = Releases(LAYOUT)
    params = np.frombuffer(FIRST, "<f4", count=LAYOUT.size).copy()
    change = np.random.default_rng(5).normal(0, 1e-3, LAYOUT.size).astype(np.float32)
    return first(releases.next(params, change), 4)


class Counting(Deltas):
    """Says how often it was asked."""

    def __init__(self, versions: Mapping[bytes, bytes]) -> None:
        super().__init__(LAYOUT, versions.get)
        self.asked = 0

    def between(self, held: bytes, wanted: bytes, snapshot: bytes) -> bytes | None:
        self.asked += 1
        return super().between(held, wanted, snapshot)


def test_who_asks_for_the_model_of_another_job_has_no_delta_made() -> None:
    door = Door(HISTORY)
    deltas = Counting(door.versions)
    door.restart(deltas, more=(HISTORY[3],))
    device = Device(door, "dev-00", HISTORY[2])
    device.want(HISTORY[3])
    settle(door, device)
    assert device.kept == [HISTORY[3]]
    assert device.refused == []
    assert deltas.asked == 0
    device.want(LAST)
    settle(door, device)
    assert device.kept == [HISTORY[3], LAST]
    assert deltas.asked > 0


def test_deltas_are_made_once_and_nothing_is_remembered_of_what_nobody_knows() -> None:
    asked: list[bytes] = []

    def older(digest: bytes) -> bytes | None:
        asked.append(digest)
        return HISTORY[4] if digest == prg.digest(HISTORY[4]) else None

    deltas = Deltas(LAYOUT, older)
    newest, held = prg.digest(LAST), prg.digest(HISTORY[4])
    one = deltas.between(held, newest, LAST)
    assert deltas.between(held, newest, LAST) is one
    assert asked == [held]
    for number in range(3):
        assert deltas.between(bytes([number]) * 32, newest, LAST) is None
    assert len(deltas._made) == 1
    assert BACK == 30
