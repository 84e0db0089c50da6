"""Jobs side by side over one link: a round waits for its own job's devices and counts nobody else's."""

from crash_world import JOB, TENANT, World

from accord import cbor
from accord.link import Delivery
from accord.wire import topics
from accord.wire.messages import State
from aggregator.attendance import Attendance
from aggregator.switchboard import Switchboard


class Exchange:
    """One job of two: the switchboard hands its runner what devices of both say."""

    def __init__(self) -> None:
        self.world = World(rounds=1)
        self.world.start_aggregator()
        assert self.world.runner is not None
        self.runner = self.world.runner
        self.attendance = Attendance()
        self.board = Switchboard({JOB: self.runner}, self.attendance)

    def says(self, device: str, job: str, *, online: bool = True, birth: int = 1) -> str:
        payload = State(online=online, birth=birth, job=job).encode()
        return self.board.handle(Delivery(topic=topics.up(TENANT, device, "state"), payload=payload))

    def opened(self) -> bool:
        self.runner.poll()
        return self.runner.coordinator.busy

    @property
    def here(self) -> set[str]:
        return self.runner.coordinator.online


def test_a_round_does_not_open_for_another_jobs_devices() -> None:
    exchange = Exchange()
    for number in range(4):
        exchange.says(f"other-{number}", "k")
    assert exchange.here == set()
    assert not exchange.opened(), "four devices are online, and none of them is this job's"
    for number in range(4):
        assert not exchange.opened()
        exchange.says(f"dev-{number:02d}", JOB)
    assert exchange.opened()
    assert exchange.here == {f"dev-{number:02d}" for number in range(4)}


def test_a_device_that_changes_its_job_leaves_the_one_before() -> None:
    exchange = Exchange()
    exchange.says("dev-00", JOB)
    exchange.says("dev-00", "k", birth=2)
    assert exchange.here == set()
    exchange.says("dev-00", JOB, online=False)
    exchange.says("dev-00", JOB, birth=3)
    assert exchange.here == {"dev-00"}
    exchange.says("dev-00", JOB, online=False, birth=3)
    assert exchange.here == set()


def test_a_job_that_begins_later_is_told_of_its_own_devices_alone() -> None:
    exchange = Exchange()
    for device, job in (("dev-00", JOB), ("other-0", "k"), ("dev-01", "")):
        exchange.attendance.state(device, State(online=True, birth=1, job=job))
    exchange.board.joined(exchange.runner)
    assert exchange.here == {"dev-00"}


def test_a_birth_of_a_wire_before_counts_for_nobody() -> None:
    exchange = Exchange()
    topic = topics.up(TENANT, "dev-00", "state")
    assert "3 fields" in exchange.board.handle(Delivery(topic=topic, payload=cbor.encode([True, 1])))
    assert exchange.here == set()
