"""Makes what runs one job from its row in the store: coordinator, books, runner."""

import dataclasses
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SystemEntropy
from accord.files import read_limited
from accord.link import Link
from accord.prg import digest
from accord.secagg.ring import Spread
from accord.update.snapshot import Snapshot, columns_of, unscaled
from accord.wire.versions import DataSchema
from aggregator import job_config
from aggregator.attendance import Attendance
from aggregator.audit import entries
from aggregator.blobs import Blobs
from aggregator.chronicle import AuditChronicle
from aggregator.coordinator import Coordinator
from aggregator.coordinator_values import Model, Office, Settings
from aggregator.job import Job
from aggregator.job_books import JobBooks
from aggregator.job_config import JobConfig
from aggregator.job_runner import JobRunner
from aggregator.job_settings import Secured
from aggregator.registry import Registry
from aggregator.store import Store
from aggregator.strategies.robust import strategy
from aggregator.tables import jobs, lines
from aggregator.unit_of_work import UnitOfWork

LARGEST_BUNDLE = 1 << 28  # bytes
Told = Callable[[Mapping[str, Any]], None]


def add_job(store: Store, blobs: Blobs, config: JobConfig) -> Secured:
    """Put a job into the store, in status `waiting`; its bundle goes among the blobs.

    Returns:
        Its profile, and why it is this one; the job's first log line says so, too.

    Raises:
        UsageError: there is a job of that name.
        CodecError: the bundle is none.
        FileError: it can't be read.
    """
    data = read_limited(Path(config.bundle), LARGEST_BUNDLE)
    bundle = read_bundle(data, limit=LARGEST_BUNDLE, publisher=None)
    secured = config.settings(bundle.manifest.outputs).secured
    config.check_bundle(bundle.manifest.loss, bundle.manifest.batch)
    name = blobs.put(data)
    with store.begin() as connection:
        jobs.add(connection, config.name, config.to_json(name.hex()), time.time())
        lines.append(connection, config.name, time.time(), {"event": "secured", **dataclasses.asdict(secured)})
    return secured


class JobMaker:
    """What all jobs of one aggregator share.

    Args:
        link: connected as the aggregator.
        work: the transaction.
        blobs: bundles and snapshots.
        office: the aggregator's key and documents.
        chronicle: the audit log.
        attendance: who is there.
        revocations: gives the signed list that counts from the next round on.
        told: called with a JSON-ready record of each round, abort and refusal, which names its job.
        clock: wall time in whole seconds.
        spread: shares the work on masks among a pool's workers.
    """

    def __init__(
        self,
        *,
        link: Link,
        work: UnitOfWork,
        blobs: Blobs,
        office: Office,
        chronicle: AuditChronicle,
        attendance: Attendance,
        revocations: Callable[[], bytes],
        told: Told,
        clock: Callable[[], int],
        spread: Spread = map,
    ) -> None:
        self._link, self._work, self._blobs, self._office = link, work, blobs, office
        self._chronicle, self._attendance, self._revocations = chronicle, attendance, revocations
        self._told, self._clock, self._spread = told, clock, spread
        self._registry = Registry(blobs)
        self._objects: MutableMapping[bytes, bytes] = {}

    def work_under(self, office: Office) -> None:
        """Make jobs that work under other documents from here on."""
        self._office = office

    def made(self, row: jobs.JobRow) -> tuple[JobRunner, JobBooks]:
        """Return a job's runner and books.

        Raises:
            AccordError: its configuration, bundle or books can't be read.
        """
        config = job_config.from_tables(row.config, f"job {row.name}")
        data = self._blobs.get(bytes.fromhex(config.bundle))
        bundle = read_bundle(data, limit=LARGEST_BUNDLE, publisher=None)
        job = _job(config, bundle)
        params = job.snapshot.encode()
        office = self._office
        model = Model(
            version=0, params=params, digest=digest(params), bundle_digest=bundle.digest, bundle_size=len(data)
        )
        coordinator = Coordinator(
            office=office,
            settings=Settings(
                job=config.name, windows=config.windows, max_attempts=config.max_attempts, spread=self._spread
            ),
            model=model,
            layout=bundle.manifest.layout,
            clock=self._clock(),
            prove=self._chronicle.prove,
        )
        self._chronicle.write(entries.of_bundle(self._clock(), config.name, bundle.digest))
        books = JobBooks(
            work=self._work,
            registry=self._registry,
            office=office,
            name=config.name,
            bundle=digest(data),
            input_shape=bundle.manifest.input_shape,
            request=job.request,
            clock=self._clock,
        )
        schema = DataSchema(input_shape=bundle.manifest.input_shape, columns=(), task=job.task)
        books.begin(0, params, schema)
        books.commit()

        def told(fact: Mapping[str, Any]) -> None:
            if fact["event"] != "refused":
                books.line(fact)
            self._told({"job": config.name, **fact})

        runner = JobRunner(
            link=self._link,
            coordinator=coordinator,
            job=job,
            books=books,
            objects=self._objects,
            entropy=SystemEntropy(),
            monotonic=time.monotonic,
            clock=self._clock,
            gather=config.windows.gather,
            told=told,
            attendance=self._attendance,
            chronicle=self._chronicle,
            revocations=self._revocations,
        )
        return runner, books


def _job(config: JobConfig, bundle: Bundle) -> Job:
    columns = columns_of(bundle.manifest.input_shape)
    return Job(
        settings=config.settings(bundle.manifest.outputs, gated=bundle.infer is not None),
        layout=bundle.manifest.layout,
        exponents=bundle.manifest.exponents,
        snapshot=Snapshot(params=bundle.params.copy(), scaling=unscaled(columns)),
        columns=columns,
        strategy=strategy(config.merge, config.norm_gate),
        scaled=bundle.manifest.scaled,
    )
