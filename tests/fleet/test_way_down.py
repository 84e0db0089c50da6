"""The way down: a device that holds a version gets what leads from there to the newest one, and never a wrong model."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import crash_world
import numpy as np
import pytest

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.files import Disk
from accord.files.crash import Crash
from accord.files.crash_points import crash_points
from accord.files.memory import MemoryFiles
from accord.link import Delivery
from accord.link.memory import MemoryBroker
from accord.records import Record
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update import basis, blocks, subspace
from accord.update.delta import Delta
from accord.update.snapshot import first
from accord.update.subspace import Subspace
from accord.wire import chunks, topics
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, opened
from aggregator import coordinator_values as agg
from aggregator.advances import Advances
from aggregator.cli import text_of
from aggregator.coordinator import Coordinator
from aggregator.deltas import BACK, Deltas
from aggregator.enrolment import new_fleet
from aggregator.releases import Releases
from aggregator.round_values import Windows
from aggregator.transport import Transport
from aggregator.way_down import REASONS
from edge_sdk.fetching import Fetching
from edge_sdk.journal import DiskRecords
from edge_sdk.session_values import Fetch

CLOCK = 1_000
LAYOUT = Layout((("w", (400, 250)), ("b", (250,))))
KEYS = new_fleet("t", SeededEntropy(1), CLOCK + 10_000)
PIECES = topics.piece("t", "")


def history(count: int) -> list[bytes]:
    """Return the snapshots of so many releases after a bundle's; each round touches a tenth of the blocks."""
    rng, releases = np.random.default_rng(0), Releases(LAYOUT)
    params = rng.normal(0, 0.05, LAYOUT.size).astype(np.float32)
    found = [first(params, 4)]
    for _ in range(count):
        change = rng.normal(0, 1e-3, LAYOUT.size).astype(np.float32)
        change[~blocks.members(rng.random(blocks.count(LAYOUT.size)) < 0.1, 0, LAYOUT.size)] = 0
        params = releases.next(params, change)
        found.append(first(params, 4))
    return found


HISTORY = history(6)
FIRST, LAST = HISTORY[0], HISTORY[-1]


class Door:
    """The aggregator's side, with the versions that it still knows; `restart` leaves it nothing but those."""

    def __init__(self, versions: list[bytes]) -> None:
        self.versions = {prg.digest(data): data for data in versions}
        self.broker = MemoryBroker("t", SeededEntropy(1))
        self.published: list[bytes] = []
        self.restart()

    def restart(self, deltas: Deltas | None = None, more: Sequence[bytes] = ()) -> None:
        newest = list(self.versions.values())[-1]
        office = agg.Office(
            tenant="t",
            key=KEYS.aggregator,
            roles=KEYS.roles(),
            roles_version=KEYS.roles_version,
            enrolment=KEYS.enrolment.public,
            revocations=KEYS.revocations(),
            checkpoint=KEYS.checkpoint(),
        )
        name = prg.digest(newest)
        coordinator = Coordinator(
            office=office,
            settings=agg.Settings(job="j", windows=Windows()),
            model=agg.Model(version=1, params=newest, digest=name, bundle_digest=bytes(32), bundle_size=1),
            layout=LAYOUT,
            clock=CLOCK,
        )
        self.transport = Transport(
            link=self.broker.connect("aggregator"),
            coordinator=coordinator,
            objects={prg.digest(data): data for data in (newest, *more)},
            deltas=Deltas(LAYOUT, self.versions.get) if deltas is None else deltas,
            now=lambda: 0.0,
            clock=lambda: CLOCK,
            told=lambda _notice: None,
        )
        self.transport.start()

    def serve(self) -> bool:
        busy = False
        while (delivery := self.transport.link.receive(0)) is not None:
            busy = True
            self.transport.handle(delivery)
        if self.transport.waiting:
            busy = True
            self.transport.flush()
        return busy


class Device:
    """One device's downloads; `lose` says which deliveries the network loses."""

    def __init__(self, door: Door, name: str, held: bytes) -> None:
        self.name, self.key = name, SigningKey(prg.digest(name.encode()))
        self.link = door.broker.connect(name)
        for kind in ("rsp", "cmd"):
            self.link.subscribe(topics.down("t", name, kind))
        self.kept: list[bytes] = []
        self.sent: list[Record] = []
        self.refused: list[str] = []
        self.bytes, self.done = 0, False
        self.fetching = Fetching(
            self.link,
            "t",
            LAYOUT,
            held=held,
            send=self._send,
            largest=1 << 20,
            received=self._received,
            kept=self.kept.append,
        )

    def _send(self, message: Record) -> None:
        self.sent.append(message)
        letter = seal(TAG_OF[type(message)], message.encode(), key=self.key, sender=self.name, recipient="aggregator")
        self.link.publish(topics.up("t", self.name, "req"), letter.encode())

    def _received(self, size: int) -> None:
        self.bytes += size

    def want(self, model: bytes) -> None:
        self.fetching.fetch(
            Fetch(params_digest=prg.digest(model), params_size=len(model), bundle_digest=bytes(32), bundle_size=1)
        )

    def pump(self, lose: Callable[[Delivery], bool] = lambda _delivery: False) -> bool:
        busy = False
        while (delivery := self.link.receive(0)) is not None:
            busy = True
            if lose(delivery):
                continue
            try:
                self._take(delivery)
            except Refusal as refusal:
                self.refused.append(refusal.reason)
        return busy

    def _take(self, delivery: Delivery) -> None:
        if delivery.topic.startswith(PIECES):
            self.done = self.fetching.piece(delivery.payload) is not None or self.done
            return
        letter = Envelope.decode(delivery.payload)
        letter.check(KEYS.aggregator.public)
        if letter.tag == TAG_OF[chunks.Merged]:
            self.fetching.merged(opened(letter, chunks.Merged))
        else:
            self.fetching.manifest(opened(letter, chunks.Manifest))


def settle(door: Door, *devices: Device, lose: Callable[[Delivery], bool] = lambda _delivery: False) -> None:
    for _ in range(50):
        if not any([door.serve(), *(device.pump(lose) for device in devices)]):
            return
    raise AssertionError("it does not end")


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


def test_a_device_that_lost_power_holds_what_it_held_and_a_damaged_file_costs_a_snapshot() -> None:
    files = MemoryFiles()
    records = DiskRecords(Path("/state"), "j", Disk(files))
    assert records.model(1 << 20) == b""
    records.hold(HISTORY[0])
    records.hold(HISTORY[5])
    files.crash(Crash(names="lost", data="lost"))
    held = DiskRecords(Path("/state"), "j", Disk(files)).model(1 << 20)
    assert held == HISTORY[5]
    for found, bytes_down in ((held, 0.11 * LAYOUT.size), (held[:-4], len(LAST)), (b"\1" + held[1:], len(LAST))):
        door = Door(HISTORY)
        device = Device(door, "dev-00", found)
        device.want(LAST)
        settle(door, device)
        assert device.kept == [LAST]
        assert device.bytes <= bytes_down
    assert records.model(100) == b"", "a file that is too large is not read"


def test_wherever_the_power_goes_the_disk_holds_one_version_or_the_other_whole() -> None:
    def hold(disk: Disk, model: bytes) -> None:
        DiskRecords(Path("/state"), "j", disk).hold(model)

    before, after = b"before" * 100, b"after" * 100
    seen = set()
    for _, _, disk in crash_points(lambda disk: hold(disk, after), lambda disk: hold(disk, before)):
        seen.add(DiskRecords(Path("/state"), "j", disk).model(1 << 20))
    assert seen == {before, after}


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
    forged = dataclasses.replace(one, shifts=(one.shifts[0] + 1, one.shifts[1]))
    return {
        "cut short": ("CorruptDelta", data[:-7]),
        "no delta at all": ("CorruptDelta", b"\x80"),
        "a bomb": ("OversizeDelta", dataclasses.replace(delta, advances=(bomb,)).encode()),
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
