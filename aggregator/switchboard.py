"""One link for several jobs: what a device says goes to the one that it takes part in."""

from collections.abc import Callable, Mapping

from accord.errors import CodecError
from accord.link import Delivery
from accord.wire import topics
from accord.wire.check_in import Ask, CheckIn
from accord.wire.enrolment import Enrol
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Beat, State, opened
from aggregator.attendance import Attendance
from aggregator.coordinator_values import Presence
from aggregator.job_runner import JobRunner

LARGEST_CHECK_IN = 4_096
"""Bytes: a larger letter is no check-in, and is not looked into."""


class Switchboard:
    """Hands deliveries on.

    Args:
        runners: the jobs that are running, by name; looked at for each delivery.
        attendance: shared by them.
        enrol: called with a device and its request for a certificate; None drops such letters.
        over: called with a device that asks for a RESULT of a job that is not running; None drops such letters.
    """

    def __init__(
        self,
        runners: Mapping[str, JobRunner],
        attendance: Attendance,
        enrol: Callable[[str, bytes], None] | None = None,
        over: Callable[[str, Ask], None] | None = None,
    ) -> None:
        self._runners, self._attendance, self._enrol, self._over = runners, attendance, enrol, over
        self._job_of: dict[str, str] = {}

    def handle(self, delivery: Delivery) -> str:
        """Take one delivery, and return why it was dropped; empty if it was not."""
        try:
            found = topics.parse(delivery.topic)
            match found.kind:
                case "state":
                    self._presence(found.device, State.decode(delivery.payload))
                case "beat":
                    self._attendance.beat(found.device, Beat.decode(delivery.payload))
                case "s":  # pieces of an upload: whoever waits for them knows them by their hash
                    for runner in self._runners.values():
                        runner.transport.handle(delivery)
                case _:
                    self._letter(found.device, delivery)
        except CodecError as error:
            return f"{delivery.topic[:120]}: {error}"
        return ""

    def joined(self, runner: JobRunner) -> None:
        """Tell a job that has just begun who is there."""
        for device, seen in sorted(self._attendance.devices.items()):
            if seen.online and seen.job == runner.coordinator.settings.job:
                runner.transport.step(Presence(device=device, online=True))

    def _presence(self, device: str, state: State) -> None:
        before = self._attendance.job(device)
        if not self._attendance.state(device, state):
            return
        if before != state.job and before in self._runners:  # it takes part in another job from now on
            self._runners[before].transport.step(Presence(device=device, online=False))
        if state.job in self._runners:
            self._runners[state.job].transport.step(Presence(device=device, online=state.online))

    def _letter(self, device: str, delivery: Delivery) -> None:
        if len(delivery.payload) <= LARGEST_CHECK_IN:
            letter = Envelope.decode(delivery.payload)
            if letter.tag == TAG_OF[Enrol]:
                if self._enrol is not None:
                    self._enrol(device, delivery.payload)
                return
            if letter.tag == TAG_OF[Ask]:
                self._ask(device, opened(letter, Ask), delivery)
                return
            if letter.tag == TAG_OF[CheckIn]:
                self._job_of[device] = opened(letter, CheckIn).job
        runner = self._runners.get(self._job_of.get(device, "")) or self._remembered(device)
        if runner is not None:
            runner.transport.handle(delivery)

    def _ask(self, device: str, asked: Ask, delivery: Delivery) -> None:
        runner = self._runners.get(asked.job)
        if runner is not None:
            runner.transport.handle(delivery)
        elif self._over is not None:
            self._over(device, asked)

    def _remembered(self, device: str) -> JobRunner | None:
        """Return the job that knows a device from before a restart, or any: it refuses by name."""
        for runner in self._runners.values():
            if runner.coordinator.knows(device):
                return runner
        return next(iter(self._runners.values()), None)
