"""The aggregator as a process: the jobs of a store over MQTT, each of which goes on where it was after a restart.

The only file that knows every part. One thread: deliveries are taken in batches, what follows from a batch is committed
once, and then sent.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.errors import AccordError, Refusal, SignatureError
from accord.files import FolderLock, make_folder
from accord.ids import AGGREGATOR
from accord.link import Link
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import Will
from accord.link.session import speakable
from accord.wire import topics
from accord.wire.check_in import Ask
from accord.wire.messages import State
from aggregator import journal, retention
from aggregator.attendance import Attendance
from aggregator.audit import entries
from aggregator.audit.folder import AuditFolder
from aggregator.audit.log import AuditLog
from aggregator.audit.salts import Salts
from aggregator.blobs import BLOBS, Blobs
from aggregator.chronicle import AuditChronicle
from aggregator.config import AggregatorConfig
from aggregator.documents import Documents
from aggregator.fleet_folder import FleetFolder
from aggregator.job_books import JobBooks
from aggregator.job_maker import JobMaker, Told, add_job
from aggregator.job_runner import JobRunner
from aggregator.reception import Reception
from aggregator.registry_watch import RegistryWatch
from aggregator.seen_devices import SeenDevices
from aggregator.store import Store, database_of
from aggregator.switchboard import Switchboard
from aggregator.tables import jobs, results
from aggregator.unit_of_work import UnitOfWork

SETTLED = 0.02  # seconds without a delivery after which pieces that were asked for go out
BATCH = 64  # deliveries that one commit covers
LOOK = 0.5  # seconds between two looks at what people asked of the jobs
TROUBLE = frozenset(("DiskFull", "DiskReadOnly", "DiskFailing"))
"""States of the disk that end the process, not a job: started again, it goes on."""
SALTS = "salts"
LOG = logging.getLogger("accord.aggregator")


class AggregatorService:
    """The jobs of one store over one broker.

    Args:
        config: where everything lies.
        told: called with a JSON-ready record of each round, abort and refusal, which names its job.
        turned: called each time the loop turns, for a watchdog; what it raises ends `run`.

    Raises:
        FileError: a file is missing, damaged or readable by others; `StateInUse`, another process has the state folder.
        StoreError: the database can't be opened.
        LinkError: the broker can't be reached or refuses us.
    """

    def __init__(self, config: AggregatorConfig, told: Told, *, turned: Callable[[], None] = lambda: None) -> None:
        self._told, self._only, self._turned = told, None if config.job is None else config.job.name, turned
        self._lock = FolderLock(make_folder(config.state))
        try:
            self._open(config, config.state)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, config: AggregatorConfig, state: Path) -> None:
        """Open everything, and connect last."""
        folder = FleetFolder(path=config.fleet)
        self._audit = AuditFolder(state)
        self._store = Store(config.database or database_of(state))
        self._documents = Documents(folder, state, self._audit, _clock, self._told)
        office = self._documents.begin(resting=not self._rounds_under_way())
        self._session, self._tenant = config.session, speakable(office.tenant, "tenant", config.session)
        self._work = UnitOfWork(self._store)
        self._blobs = retention.tidied(self._store, Blobs(state / BLOBS), time.time())
        if config.job is not None:
            with self._store.read() as connection:
                known = any(row.name == config.job.name for row in jobs.every(connection))
            if not known:
                add_job(self._store, self._blobs, config.job)
        self._runners: dict[str, JobRunner] = {}
        self._books: dict[str, JobBooks] = {}
        log = AuditLog(self._audit, key=office.key, tenant=self._tenant)
        self._chronicle = AuditChronicle(log, Salts(state / SALTS, SystemEntropy()), _clock)
        self._chronicle.write(
            entries.of_roles(_clock(), office.roles), entries.of_revocation(_clock(), office.revocations)
        )
        self._attendance = Attendance(SeenDevices.births(self._store))
        self._seen = SeenDevices(self._work, self._attendance, self._tenant)
        self._registry = RegistryWatch(self._work, self._chronicle, _clock)
        self._reception = Reception(self._work, self._tenant, self._chronicle, clock=_clock)
        self._switchboard = Switchboard(self._runners, self._attendance, self._enrol, self._recalled)
        self._stopping, self._birth = False, time.time_ns()
        topic = topics.aggregator_state(self._tenant)
        self._link: Link = MqttLink(
            Address(
                host=config.host,
                port=config.mutual_port or config.port,
                client_id=AGGREGATOR,
                password=folder.password(),
                tls=config.secured(folder.tls),
                session=config.session,
                others=config.others,
            ),
            entropy=SystemEntropy(),
            will=Will(topic=topic, payload=State(online=False, birth=self._birth, job="").encode()),
            settled=True,
        )
        self._pool = ThreadPoolExecutor(thread_name_prefix="masks")
        self._maker = JobMaker(
            link=self._link,
            work=self._work,
            blobs=self._blobs,
            office=office,
            chronicle=self._chronicle,
            attendance=self._attendance,
            revocations=lambda: self._documents.revocations,
            told=self._told,
            clock=_clock,
            spread=self._pool.map,
        )

    def stop(self) -> None:
        """Make `run` return soon; safe to call from a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Leave the broker in an orderly way; rounds under way stay in the journal."""
        self._link.close()
        self._pool.shutdown()
        self._work.abandon()
        self._audit.close()
        self._store.close()
        self._lock.close()

    def run(self) -> None:
        """Run every job that is to run, until `stop` is called or the one that the configuration names is over."""
        self._seen.begin(self._documents.revoked)
        self._registry.know(self._documents.office.roles)
        for topic in topics.everything_up(self._tenant):
            self._link.subscribe(topic)
        self._documents.announce(self._link)
        connections, look = 0, 0.0
        while not self._stopping:
            if time.monotonic() >= look:
                look = time.monotonic() + LOOK
                if self._look():
                    return
            if self._link.connections != connections:  # devices send again what they lack an answer to: jobs listen now
                connections = self._link.connections
                self._documents.announce(self._link)
                state = State(online=True, birth=self._birth, job="").encode()
                self._link.publish(topics.aggregator_state(self._tenant), state, retain=True)
            self._serve()
            self._turned()

    def _serve(self) -> None:
        """Take what has come, do what is due, commit, send."""
        delivery = self._link.receive(SETTLED)
        quiet, count = delivery is None, 0
        while delivery is not None:
            dropped = self._switchboard.handle(delivery)
            if dropped:
                LOG.debug("dropped: %s", dropped)
            count += 1
            delivery = self._link.receive(0) if count < BATCH else None
        for name, runner in tuple(self._runners.items()):
            runner.poll()
            if runner.ended:
                self._over(name, runner)
            runner.transport.release()
            if runner.ended:
                del self._runners[name], self._books[name]
            elif quiet:
                runner.transport.flush()
        self._link.settle()  # what was taken is in the journal, or would come again

    def _look(self) -> bool:
        """Start and stop what people asked for, note who was seen; return whether there is nothing left to wait for."""
        self._look_at_roles()
        with self._work.reading() as connection:
            rows = jobs.every(connection)
        for row in rows:
            runner = self._runners.get(row.name)
            if runner is not None:
                runner.stopping = row.status == "stopped"
                if row.status == "waiting":  # resumed before its round was over
                    jobs.set_status(self._work.writing(), row.name, "running")
                    self._work.commit()
            elif row.status in ("waiting", "running", "stopped") and self._starts(row):
                self._start(row)
        self._seen.note()
        self._registry.look()
        self._documents.look_at_revocations(self._chronicle, self._work)
        for device, answer in self._reception.answered():
            self._link.publish(topics.down(self._tenant, device, "rsp"), answer)
        if self._only is None or self._only in self._runners:
            return False
        mine = next((row for row in rows if row.name == self._only), None)
        if mine is not None and mine.status == "failed":
            raise AccordError(mine.error)
        return mine is not None and mine.status in ("done", "stopped")

    def _starts(self, row: jobs.JobRow) -> bool:
        """Return whether a job begins or goes on, or has a round to end: it was stopped, and then the process was.

        While a roles document waits for its turn, rounds are ended and none begins.
        """
        if row.status != "stopped" and not self._documents.turning:
            return True
        with self._work.reading() as connection:
            return journal.under_way(connection, row.name)

    def _look_at_roles(self) -> None:
        """Let every job come to rest once a roles document waits for its turn, and put it in force then."""
        if not self._documents.look():
            return
        for runner in self._runners.values():
            runner.superseded = True
        if not self._runners and not self._rounds_under_way():
            office = self._documents.turn(self._chronicle)
            if office is not None:
                self._maker.work_under(office)
                self._registry.know(office.roles)
                self._documents.announce(self._link)

    def _rounds_under_way(self) -> bool:
        with self._store.read() as connection:
            return any(journal.under_way(connection, row.name) for row in jobs.every(connection))

    def _start(self, row: jobs.JobRow) -> None:
        """Build one job and let it go on from its books."""
        try:
            speakable(row.name, "job", self._session)
            runner, books = self._maker.made(row)
            self._runners[row.name], self._books[row.name] = runner, books
            runner.start()
            self._switchboard.joined(runner)
            connection = self._work.writing()
            runner.stopping = jobs.locked(connection, row.name).status == "stopped"
            if not runner.stopping:
                jobs.set_status(connection, row.name, "running")
            runner.transport.release()
        except AccordError as error:
            if getattr(error, "reason", "") in TROUBLE:
                raise  # no fault of the job's: it goes on once there is a disk again
            self._runners.pop(row.name, None)
            self._books.pop(row.name, None)
            self._work.abandon()
            jobs.set_status(self._work.writing(), row.name, "failed", str(error))
            self._work.commit()
            self._told({"event": "failed", "job": row.name, "reason": str(error)})

    def _over(self, name: str, runner: JobRunner) -> None:
        if runner.superseded:
            return  # built anew at the next look, on the newer version
        status = "failed" if runner.failure else "done" if runner.job.purpose is None else "stopped"
        if status != "stopped":  # a job is stopped by whoever asked for it, and may have been resumed since
            self._books[name].ended(status, runner.failure)
        self._told({"event": "ended", "job": name, "status": status, "reason": runner.failure})

    def _enrol(self, device: str, data: bytes) -> None:
        """Take a request for a certificate, and answer it if a person has."""
        before = device in self._reception.waiting
        try:
            answer = self._reception.take(device, data)
        except Refusal as refusal:
            self._told({"event": "refused", "device": device, "reason": refusal.reason, "detail": refusal.detail})
            return
        except SignatureError as error:
            self._told({"event": "refused", "device": device, "reason": "BadSignature", "detail": str(error)})
            return
        if answer is not None:
            self._link.publish(topics.down(self._tenant, device, "rsp"), answer)
        elif not before:
            self._told({"event": "asked", "device": device})

    def _recalled(self, device: str, asked: Ask) -> None:
        """Send a device the RESULT of a job that is over."""
        with self._work.reading() as connection:
            kept = results.get(connection, asked.job, asked.round, asked.attempt, device)
        if kept is not None:
            self._link.publish(topics.down(self._tenant, device, "cmd"), kept)


def _clock() -> int:
    return int(time.time())
