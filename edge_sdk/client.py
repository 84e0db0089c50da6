"""The device as a process: connects, trains when a round is open, and survives what the network does."""

import math
import time
from collections.abc import Callable

from accord.bundle.archive import read_bundle
from accord.entropy import SystemEntropy
from accord.errors import CodecError, ProtocolError, Refusal, SignatureError
from accord.files import DISK, FileError, FolderLock, make_folder, read_limited, read_private, read_secret
from accord.link import Delivery, Link
from accord.link.mqtt import MqttLink
from accord.link.port import Will
from accord.runtimes import check_golden, open_runtime
from accord.signing import SigningKey
from accord.update.snapshot import columns_of, first
from accord.wire import topics
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Offer, Roles, State, opened
from edge_sdk.acceptance import check_own_certificate
from edge_sdk.agent import Agent
from edge_sdk.attendance import Attendance, Stopped, WaitingWorker
from edge_sdk.conditions import Conditions, Unmet
from edge_sdk.config import DeviceConfig
from edge_sdk.enrolment import serial
from edge_sdk.example_store import ExampleStore
from edge_sdk.heartbeat import Heartbeat
from edge_sdk.journal import LARGEST_DOCUMENT, DiskRecords
from edge_sdk.keystore import read_root
from edge_sdk.pace import Progress
from edge_sdk.patience import Patience
from edge_sdk.readings import Readings
from edge_sdk.renewing import Renewing
from edge_sdk.roles_heard import newest
from edge_sdk.rows_file import read_rows
from edge_sdk.saved import EVERY_FILE, Saved
from edge_sdk.session import Session
from edge_sdk.session_values import OUTSIDE, Finished, Identity, Refused
from edge_sdk.timekeeper import Timekeeper
from edge_sdk.trainer import Trainer

LARGEST_BUNDLE = 1 << 28  # bytes
LARGEST_MODEL = 1 << 30  # bytes of a version on disk


class EdgeClient:
    """A device that takes part in a fleet.

    It trains on the rows of `[work] data`, or on the examples that were added to it::

        from pathlib import Path
        from edge_sdk import EdgeClient, load

        def progress(step):
            print(f"round {step.round}: step {step.step} of {step.steps}, loss {step.loss:.3f}")

        with EdgeClient(load(Path("device.toml")), progress=progress) as edge:
            edge.examples.add(x, y)  # arrays of your own; they never leave the device
            edge.run(rounds=1)

    Args:
        config: where everything lies.
        told: called with every finished attempt and every refusal.
        progress: called after every step of training.
        rested: called with the constraints that do not hold when they change; with none when the device goes on.
        readings: gives the conditions that constraints are judged by; the system's files by default.
        renewed: called with the serial number of a renewed certificate once it is taken up.
        turned: called each half second of waiting, and between two steps of work, such as batches: for a watchdog.

    Raises:
        UsageError: the rows do not fit.
        FileError: a file is missing, damaged or readable by others; `StateInUse`, another process has the state folder.
        Refusal: the bundle or a document does not hold.
        LinkError: the broker can't be reached or refuses us.
    """

    def __init__(
        self,
        config: DeviceConfig,
        told: Callable[[Finished | Refused], None] = lambda _effect: None,
        *,
        progress: Callable[[Progress], None] = lambda _step: None,
        rested: Callable[[tuple[Unmet, ...]], None] = lambda _unmet: None,
        readings: Callable[[], Conditions] | None = None,
        renewed: Callable[[int], None] = lambda _serial: None,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._told, self._renewed, self._turned = config, told, renewed, turned
        self._lock = FolderLock(make_folder(config.state))
        try:
            self._prepare(progress, rested, readings)
        except BaseException:
            self._lock.close()
            raise

    def _prepare(
        self,
        progress: Callable[[Progress], None],
        rested: Callable[[tuple[Unmet, ...]], None],
        readings: Callable[[], Conditions] | None,
    ) -> None:
        """Build every part, and connect last: nobody counts on a device that could not begin."""
        config, entropy = self._config, SystemEntropy()
        records = self._records = DiskRecords(config.state, config.job)
        DISK.sweep(config.state)
        self._time = Timekeeper(config.clock)
        self.examples = ExampleStore(config.store, self._time.moment, config.examples, erasing=self._erase_residual)
        self._attendance = Attendance(
            config.constraints, Readings(config.state) if readings is None else readings, told=rested, every=config.poll
        )
        root = read_root(config.root)
        password = read_private(config.password, 1_024).decode().strip()
        given, kept, now = read_limited(config.roles, LARGEST_DOCUMENT), records.roles(), self._time.moment().now
        address = config.reach.address(config.device, password)
        connect = lambda: MqttLink(address, entropy=entropy)  # noqa: E731 - only if it is needed
        roles = newest(given, kept, root, config.tenant, now=now, connect=connect)
        if roles not in (given, kept):
            records.believe(roles)
        named = opened(Envelope.decode(roles), Roles)
        bundle = read_bundle(
            read_limited(config.bundle, LARGEST_BUNDLE), limit=LARGEST_BUNDLE, publisher=named.publisher
        )
        runtime = open_runtime(bundle)
        check_golden(runtime, bundle)
        identity = Identity(
            device=config.device,
            tenant=config.tenant,
            key=SigningKey(read_secret(config.identity, 32)),
            certificate=read_limited(config.certificate, LARGEST_DOCUMENT),
            root=root,
            roles=roles,
        )
        self._birth = records.next_birth()
        session = Session(
            job=config.job,
            identity=identity,
            limits=config.limits,
            layout=runtime.layout,
            bundle_digest=bundle.digest,
            entropy=entropy,
            ledger=records.ledger(),
            now=now,
            birth=self._birth,
            residual=records.residual(),
        )
        check_own_certificate(identity, named, now)
        shape = bundle.manifest.input_shape
        trainer = Trainer(
            runtime,
            shape,
            (lambda: self.examples.rows(shape)) if config.data is None else read_rows(config.data, bundle.manifest),
            entropy,
            scaled=bundle.manifest.scaled,
            pace=self._may_step,
            progress=progress,
        )
        worker = WaitingWorker(
            trainer,
            self._attendance,
            over=lambda plan: plan.expires <= self._time.moment().now,
            meanwhile=self._meanwhile,
        )
        state = topics.up(config.tenant, config.device, "state")
        self._link: Link = MqttLink(
            address,
            entropy=entropy,
            known=records.broker(),
            learned=records.met,
            will=Will(topic=state, payload=State(online=False, birth=self._birth, job=config.job).encode()),
        )
        self._agent: Agent = Agent(
            link=self._link,
            session=session,
            worker=worker,
            records=records,
            job=config.job,
            held=records.model(LARGEST_MODEL, session.layout) or first(bundle.params, columns_of(shape)),
            told=self._finished,
        )
        self._heartbeat = Heartbeat(
            self._link, config.tenant, config.device, entropy=entropy, every=config.heartbeat, now=time.monotonic()
        )
        self._renewing = Renewing(config.state, config.certificate, entropy, time.monotonic())
        self._down = topics.down(config.tenant, config.device, "")
        self._request = topics.up(config.tenant, config.device, "req")
        self._finished_count = 0

    def __enter__(self) -> "EdgeClient":  # noqa: PYI034 - typing.Self needs Python 3.11; devices have 3.10
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker in an orderly way, and the state folder to others."""
        self._link.close()
        self._lock.close()

    def stop(self) -> None:
        """Make `run` return within a step of training; safe to call from a signal handler or another thread."""
        self._attendance.stopping = True

    def run(self, rounds: int | None = None, *, quiet: float | None = None) -> None:
        """Take part in rounds until `stop` is called.

        Args:
            rounds: return after so many finished attempts; go on for ever if None.
            quiet: return after so many seconds in which there was nothing to do: no round was joined or, in a round,
                nothing came. An attempt that is under way is gone on with the next time.

        Raises:
            FileError: the disk is full, read-only or fails; a device that is started again goes on from what is there.
        """
        until = None if rounds is None else self._finished_count + rounds
        try:
            self._run(lambda: self._attendance.stopping or (until is not None and self._finished_count >= until), quiet)
        except Stopped:
            return  # in the middle of training: the journal holds what is needed to come back

    def _run(self, done: Callable[[], bool], quiet: float | None) -> None:
        leave = math.inf if quiet is None else time.monotonic() + quiet
        connections, awake = self._link.connections, self._attendance.may_work()
        self._agent.start(self._birth, awake=awake)
        self._agent.resume(self._saved())
        patience = Patience(time.monotonic())
        while not done() and time.monotonic() < leave:
            if self._link.connections != connections:
                connections, awake = self._link.connections, self._attendance.may_work()
                self._agent.start(self._birth, awake=awake)
                self._agent.ask_again()  # what was on its way when the connection broke may be lost
            if self._attendance.may_work() != awake:
                awake = not awake
                (self._agent.wake if awake else self._agent.rest)()
            delivery = self._link.receive(0.5)
            if delivery is not None:
                self._witness(delivery)
                if delivery.topic.startswith(self._down) and self._renewing.answers(delivery.payload):
                    self._answered(delivery.payload)
                else:
                    self._agent.handle(delivery)
                patience.heard(time.monotonic())
                if quiet is not None and self._agent.session.stage not in OUTSIDE:
                    leave = time.monotonic() + quiet
            elif patience.over(time.monotonic()):
                self._agent.ask_again()
            self._meanwhile()

    def _may_step(self) -> bool:
        self._turned()
        return self._attendance.may_work()

    def _meanwhile(self) -> None:
        self._turned()
        self._heartbeat.turn(time.monotonic(), self._agent.traffic)
        session, now = self._agent.session, self._time.peek().now
        question = self._renewing.question(time.monotonic(), now)
        if question:
            self._link.publish(self._request, question)
        renewed = self._renewing.ready(session.roles, now)
        if renewed is not None:
            session.take_up(renewed)
            self._renewed(serial(renewed.certificate))

    def _erase_residual(self) -> None:
        self._agent.erase_residual()

    def _answered(self, data: bytes) -> None:
        """Keep a certificate that enrolment has renewed; what does not hold is told."""
        session = self._agent.session
        try:
            self._renewing.take(data, session.identity, session.ledger, self._time.moment().now)
        except (Refusal, SignatureError, CodecError) as error:
            self._told(Refused.of(error))

    def _witness(self, delivery: Delivery) -> None:
        """Take the time from an offer that the aggregator signed; whatever is wrong with it, the session tells."""
        if not delivery.topic.startswith(self._down):
            return
        try:
            letter = Envelope.decode(delivery.payload)
            if letter.tag == TAG_OF[Offer]:
                self._agent.session.check_aggregator(letter)
                self._time.signed(opened(letter, Offer).now)
        except ProtocolError:
            return

    def _saved(self) -> Saved:
        """Return the attempt that was under way; a damaged one is told and left."""
        try:
            return self._records.saved()
        except FileError as error:
            self._records.forget(EVERY_FILE)
            self._told(Refused(reason="CannotResume", detail=str(error)))
            return Saved()

    def _finished(self, effect: Finished | Refused) -> None:
        if isinstance(effect, Finished):
            self._finished_count += 1
            self._heartbeat.send(self._agent.traffic)
        self._told(effect)
