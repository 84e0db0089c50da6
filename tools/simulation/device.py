"""One simulated device: a real session and agent on a memory link, which can lose power at a chosen step."""

from dataclasses import dataclass, field

from accord.entropy import Entropy
from accord.link.memory import MemoryBroker, MemoryLink
from accord.link.port import Will
from accord.tensors import Layout
from accord.wire import topics
from accord.wire.messages import State
from edge_sdk.agent import Agent, Traffic
from edge_sdk.patience import Patience
from edge_sdk.ports import Worker
from edge_sdk.residual import RESIDUAL, VECTORS
from edge_sdk.saved import Saved
from edge_sdk.session import Session
from edge_sdk.session_values import Finished, Identity, Ledger, Limits, Refused

STAGES = ("join", "share", "masked", "unmask")
"""Where a device can lose power: before the letter of that name leaves."""
STRICT_STAGES = ("join", "share", "masked", "consistency", "unmask")


class PowerCut(Exception):  # noqa: N818 - what happens, not what is wrong
    """The device went without a word, in the middle of a step."""


_WRITTEN = {"shared": "share", "masked": "masked", "confirmed": "consistency", "answered": "unmask"}


@dataclass
class _Disk:
    """What survives a power cut, and the step before which the power goes."""

    ledger: Ledger = field(default_factory=Ledger)
    residual: dict[str, bytes] = field(default_factory=dict, repr=False)
    fatal: str = ""
    model: bytes = field(default=b"", repr=False)

    def charge(self, ledger: Ledger) -> None:
        """Write the ledger; JOIN leaves next."""
        self.ledger = ledger
        self._maybe("join")

    def keep(self, name: str, data: bytes) -> None:
        """Write the residual; or a record, but not really: who loses power here comes back in the next round."""
        if name == RESIDUAL:
            self._maybe("masked")  # it is written just before
        if name == RESIDUAL or name in VECTORS:
            self.residual[name] = data
        self._maybe(_WRITTEN.get(name, ""))

    def hold(self, model: bytes, led: bytes) -> None:  # noqa: ARG002 - what it holds is in memory
        """Keep the version of the model."""
        self.model = model

    def believe(self, roles: bytes) -> None:
        """Keep nothing: a simulated fleet has one roles document."""

    def forget(self, names: tuple[str, ...]) -> None:
        """Delete what was kept."""
        for name in names:
            self.residual.pop(name, None)

    def _maybe(self, name: str) -> None:
        if name and self.fatal == name:
            raise PowerCut


class SimulatedDevice:
    """A device and its power switch.

    Args:
        broker: the fleet's.
        identity: who it is.
        limits: what it refuses.
        layout: of the model.
        held: version 0 of it, which the bundle brings.
        bundle_digest: of the bundle that it holds.
        worker: does what plans ask.
        job: the job's name.
        entropy: the device's own.
        clock: wall time in seconds.
    """

    def __init__(
        self,
        *,
        broker: MemoryBroker,
        identity: Identity,
        limits: Limits,
        layout: Layout,
        held: bytes,
        bundle_digest: bytes,
        worker: Worker,
        job: str,
        entropy: Entropy,
        clock: int,
    ) -> None:
        self.name = identity.device
        self.refusals: list[Refused] = []
        self.participations = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.payload = Traffic()
        self._broker, self._identity, self._limits, self._layout = broker, identity, limits, layout
        self._bundle, self._worker, self._job, self._entropy, self._clock = bundle_digest, worker, job, entropy, clock
        self._disk = _Disk(model=held)
        self._birth = 0
        self._link: MemoryLink
        self._agent: Agent
        self.alive = False
        self.boot()

    def boot(self) -> None:
        """Switch the device on: a new connection and a new session from what the disk holds."""
        self._birth += 1
        state = topics.up(self._identity.tenant, self.name, "state")
        will = Will(topic=state, payload=State(online=False, birth=self._birth, job=self._job).encode())
        self._link = self._broker.connect(self.name, will)
        self._link.bytes_up, self._link.bytes_down = self.bytes_up, self.bytes_down
        session = Session(
            job=self._job,
            identity=self._identity,
            limits=self._limits,
            layout=self._layout,
            bundle_digest=self._bundle,
            entropy=self._entropy,
            ledger=self._disk.ledger,
            now=self._clock,
            birth=self._birth,
            residual=self._disk.residual,
        )
        self._agent = Agent(
            link=self._link,
            session=session,
            worker=self._worker,
            records=self._disk,
            job=self._job,
            held=self._disk.model,
            told=self._told,
        )
        self._agent.traffic = self.payload
        self._agent.start(self._birth)
        self._agent.resume(Saved())
        self._patience = Patience(self._broker.now)
        self.alive = True

    def wake(self, fatal: str = "") -> None:
        """Take part from now on; lose power before the letter called `fatal` leaves."""
        if not self.alive:
            self.boot()
        self._disk.fatal = fatal
        self._agent.wake()

    def rest(self) -> None:
        """Take part no more."""
        self._disk.fatal = ""
        if self.alive:
            self._agent.rest()

    def pump(self) -> bool:
        """Handle every delivery that is here; return whether there was one."""
        busy = False
        while self.alive and (delivery := self._link.receive(0)) is not None:
            busy = True
            try:
                self._agent.handle(delivery)
                self._patience.heard(self._broker.now)
            except PowerCut:
                self.alive = False
                self._link.die()
        self.bytes_up, self.bytes_down = self._link.bytes_up, self._link.bytes_down
        return busy

    def ask_again(self) -> None:
        """Ask for what stayed away, once nothing has come for some time."""
        if self.alive and self._patience.over(self._broker.now):
            self._agent.ask_again()

    def _told(self, effect: Finished | Refused) -> None:
        if isinstance(effect, Refused):
            self.refusals.append(effect)
        elif effect.included and effect.status == "closed":
            self.participations += 1
