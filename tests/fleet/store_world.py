"""A world whose aggregator writes into a database, as the service does, and may die before or after each commit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crash_world import BUNDLE, CLOCK, JOB, TENANT, Fuse, World

from accord.wire.versions import DataSchema
from aggregator import coordinator_values as agg
from aggregator.blobs import Blobs
from aggregator.job_books import JobBooks
from aggregator.registry import Registry
from aggregator.store import Store, database_of
from aggregator.tables import devices, jobs
from aggregator.unit_of_work import UnitOfWork


class FusedWork(UnitOfWork):
    """A transaction whose process may die before it is durable, or right after."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        super().__init__(store)
        self._fuse = fuse

    def commit(self) -> None:
        self._fuse.burn()
        super().commit()
        self._fuse.burn()


class StoreWorld(World):
    """A world whose aggregator writes into a database, as the service does."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(**more)
        folder.mkdir(mode=0o700)
        self.store = Store(database_of(folder))
        self.work = FusedWork(self.store, self.fuse)
        self.registry = Registry(Blobs(folder / "blobs"))
        self.bundle = self.registry.blobs.put(BUNDLE)
        with self.store.begin() as connection:
            jobs.add(connection, JOB, {}, 1.0)
            for name in self.devices:
                devices.enrolled(connection, name, tenant=TENANT, serial=0, time=1.0)
        self.books = self.fresh_books()
        job = self._job()
        schema = DataSchema(input_shape=(3,), columns=(), task=job.task)
        self.books.begin(0, job.snapshot.encode(), schema)
        UnitOfWork.commit(self.work)

    def fresh_books(self) -> JobBooks:
        office = agg.Office(
            tenant=TENANT,
            key=self.fleet.aggregator,
            roles=self.fleet.roles(),
            roles_version=1,
            enrolment=self.fleet.enrolment.public,
            revocations=self.fleet.revocations(),
            checkpoint=self.fleet.checkpoint(),
        )

        def request() -> agg.Request | None:
            assert self.runner is not None
            return self.runner.job.request()

        return Durable(
            work=self.work,
            registry=self.registry,
            office=office,
            name=JOB,
            bundle=self.bundle,
            input_shape=(3,),
            request=request,
            clock=lambda: CLOCK,
        )

    def tell(self, fact: Mapping[str, Any]) -> None:
        super().tell(fact)
        if fact["event"] != "refused":
            self.books.line(fact)

    def start_aggregator(self) -> None:
        self.books = self.fresh_books()
        super().start_aggregator()


class Durable(JobBooks):
    """Books that lose what was not committed."""

    def crash(self) -> None:
        self._work.abandon()
