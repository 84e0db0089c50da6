"""A fleet, a bundle of its publisher, and a registry with a short history."""

from typing import Any

import numpy as np
from sqlalchemy import Connection

from accord import prg
from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.plan import Task
from accord.runtimes import reference
from accord.tensors import Vector
from accord.update.snapshot import Scaling, Snapshot
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF
from accord.wire.versions import CohortRoot, DataSchema, Promotion, Version, transcript_of
from aggregator.blobs import Blobs
from aggregator.desk import Desk
from aggregator.enrolment import Fleet, new_fleet
from aggregator.registry import Registry
from aggregator.registry_values import Registered

CLOCK = 1_000
TASK = Task(kind="classification", outputs=3, target_exponent=0, transform="none")


class History:
    """Makes versions as a job would, round by round."""

    def __init__(self, blobs: Blobs, fleet: Fleet | None = None) -> None:
        self.fleet = fleet or new_fleet("t", SeededEntropy(1), CLOCK + 1_000)
        self.registry = Registry(blobs)
        self.desk = Desk(self.fleet.aggregator)
        data = reference.make_bundle("mlp:4", (5,), 3, "softmax", 16, SeededEntropy(2), self.fleet.publisher)
        self.bundle = read_bundle(data)
        self.bundle_digest = blobs.put(data)
        self.scaling = Scaling(mean=np.arange(5, dtype=np.float32), factor=np.full(5, 0.5, np.float32))

    def params(self, number: int) -> Vector:
        return self.bundle.params + np.float32(0.01 * number)

    def snapshot(self, number: int) -> bytes:
        return Snapshot(params=self.params(number), scaling=self.scaling).encode()

    def version(self, number: int, parent: Registered | None, job: str = "j", **changes: Any) -> Version:
        params = self.snapshot(changes.pop("like", number))
        first = number == 0
        cohorts = () if first else (CohortRoot(name=f"r{number}-a1-c1", root=prg.digest(b"root"), survivors=b"\x1f"),)
        previous, plan = bytes(32) if parent is None else parent.version.transcript, prg.digest(b"plan %d" % number)
        fields: dict[str, Any] = {
            "tenant": "t",
            "job": job,
            "version": number,
            "origin": "bundle" if first else "round",
            "parent": b"" if parent is None else parent.digest,
            "restored": b"",
            "round": number,
            "attempt": 0 if first else 1,
            "plan": b"" if first else plan,
            "previous": previous,
            "cohorts": cohorts,
            "transcript": previous if first else transcript_of(previous, plan, cohorts),
            "bundle": self.bundle_digest,
            "params": prg.digest(params),
            "params_size": len(params),
            "code": "0.1.0",
            "data": DataSchema(input_shape=(5,), columns=(), task=TASK),
            "roles_version": self.fleet.roles_version,
            "time": CLOCK + number,
        }
        return Version(**(fields | changes))

    def register(
        self, connection: Connection, number: int, parent: Registered | None, job: str = "j", **changes: Any
    ) -> Registered:
        version = self.version(number, parent, job, **changes)
        params = self.snapshot(number)
        roles = self.fleet.roles()
        return self.registry.register(connection, self.desk, version, params=params, roles=roles)

    def rounds(self, connection: Connection, count: int, job: str = "j") -> list[Registered]:
        """Register version 0 and `count` more, each with its figures."""
        made: list[Registered] = []
        for number in range(count + 1):
            entry = self.register(connection, number, made[-1] if made else None, job)
            figures = {"accuracy": 0.5 + number / 10, "loss": 1 / (number + 1)}
            self.registry.measure(connection, self.desk, entry, number + 1, figures, self.fleet.roles_version)
            made.append(entry)
        return made

    def signed(self, statement: Promotion) -> bytes:
        letter = seal(
            TAG_OF[Promotion],
            statement.encode(),
            key=self.fleet.publisher,
            sender="publisher",
            recipient=statement.job,
        )
        return letter.encode()

    def promote(self, connection: Connection, number: int, stage: str = "production", job: str = "j") -> None:
        entry = self.registry.get(connection, job, number)
        statement = self.registry.statement(connection, entry, stage, CLOCK + 50)
        self.registry.promote(connection, self.signed(statement))
