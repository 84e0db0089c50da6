"""The model registry: versions and what made them, their stages, their figures, and the way back.

Every version is a record signed by the aggregator and named by its digest; its parameters and its bundle are blobs. The
publisher's key is never needed here: a promotion arrives signed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from accord import prg
from accord.errors import CodecError, SignatureError
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from accord.wire.versions import Measurement, Promotion, Version, figures_of
from aggregator.blobs import Blobs
from aggregator.desk import Desk
from aggregator.export_gate import check_export
from aggregator.registry_values import (
    FIRST_STAGE,
    NEXT_STAGES,
    NotThePublisherError,
    OvertakenError,
    Registered,
    RegistryError,
    stages_after,
)
from aggregator.schema import MEASUREMENTS, PROMOTIONS, ROLES, VERSIONS
from aggregator.tables.upsert import inserted, upsert


class Registry:
    """The versions of every job.

    Args:
        blobs: where parameters and bundles lie.
    """

    __slots__ = ("blobs",)

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def register(
        self, connection: Connection, desk: Desk, version: Version, *, params: bytes, roles: bytes
    ) -> Registered:
        """Sign a version and keep it, in stage `candidate`, as the newest of its job.

        Args:
            connection: in a transaction that writes, with the job in it.
            desk: signs.
            version: what is to be said of it; its bundle is among the blobs.
            params: the encoded snapshot.
            roles: the roles document that names the aggregator's key.

        Raises:
            RegistryError: it is not the next version of its job, its parent is not the newest one, or the bytes are not
                those that it names.
            FileError: the parameters can't be written.
        """
        head = self.head(connection, version.job)
        expected = 0 if head is None else head.version.version + 1
        if version.version != expected or (head is not None and version.parent != head.digest):
            raise RegistryError(
                f"version {version.version} does not follow the newest of job {version.job!r}, which makes {expected} "
                "the next: start again from the newest"
            )
        if (version.params, version.params_size) != (prg.digest(params), len(params)):
            raise RegistryError(f"the parameters are not those of version {version.version}")
        if version.bundle not in self.blobs:
            raise RegistryError(f"bundle {version.bundle.hex()} is not among the blobs: put it there first")
        if opened(Envelope.decode(roles), Roles).version != version.roles_version:
            raise RegistryError(f"version {version.version} names another roles document than the one given")
        self.blobs.put(params)
        letter = desk.sealed(version, version.job)
        row = {
            "job": version.job,
            "version": version.version,
            "digest": version.digest.hex(),
            "parent": version.parent.hex() or None,
            "round": version.round,
            "params": version.params.hex(),
            "bundle": version.bundle.hex(),
            "stage": FIRST_STAGE,
            "letter": letter,
        }
        inserted(connection, ROLES, {"version": version.roles_version, "letter": roles})
        if not inserted(connection, VERSIONS, row):
            raise RegistryError(
                f"version {version.version} of job {version.job!r} was made meanwhile: start again from it"
            )
        return Registered(version=version, digest=version.digest, letter=letter, stage=FIRST_STAGE)

    def head(self, connection: Connection, job: str) -> Registered | None:
        """Return the newest version of a job, or None."""
        query = select(VERSIONS).where(VERSIONS.c.job == job).order_by(VERSIONS.c.version.desc()).limit(1)
        return next(iter(_found(connection, query)), None)

    def lately(self, connection: Connection, job: str, params: bytes, back: int) -> bool:
        """Return whether one of the last `back` versions before a job's newest has parameters of this digest."""
        of_job = VERSIONS.c.job == job
        newest = select(func.max(VERSIONS.c.version)).where(of_job).scalar_subquery()
        query = select(VERSIONS.c.version).where(
            of_job, VERSIONS.c.params == params.hex(), VERSIONS.c.version >= newest - back
        )
        return connection.execute(query.limit(1)).first() is not None

    def get(self, connection: Connection, job: str, version: int) -> Registered:
        """Return one version.

        Raises:
            RegistryError: there is none of that number, or its row can't be read.
        """
        found = _found(connection, select(VERSIONS).where(VERSIONS.c.job == job, VERSIONS.c.version == version))
        if not found:
            raise RegistryError(f"job {job!r} has no version {version}: `accord model list` shows those that are")
        return found[0]

    def every(self, connection: Connection, job: str | None = None) -> tuple[Registered, ...]:
        """Return all versions, or a job's, by job and number.

        Raises:
            RegistryError: a row can't be read.
        """
        query = select(VERSIONS).order_by(VERSIONS.c.job, VERSIONS.c.version)
        return _found(connection, query if job is None else query.where(VERSIONS.c.job == job))

    def jobs(self, connection: Connection) -> list[str]:
        """Return the jobs that have versions, whether these can be read or not."""
        return list(connection.execute(select(VERSIONS.c.job).distinct().order_by(VERSIONS.c.job)).scalars())

    def measure(  # noqa: PLR0917 - who, with whose key, of which version, by which round
        self,
        connection: Connection,
        desk: Desk,
        entry: Registered,
        measured_in: int,
        figures: Mapping[str, float],
        roles_version: int,
    ) -> None:
        """Keep, signed, what a round has measured of a version.

        Raises:
            CodecError: a figure is not a number.
        """
        version = entry.version
        record = Measurement(
            job=version.job,
            version=version.version,
            digest=entry.digest,
            round=measured_in,
            roles_version=roles_version,
            figures=figures_of(figures),
        )
        row = {"job": version.job, "version": version.version, "round": measured_in}
        row |= {"letter": desk.sealed(record, version.job)}
        upsert(connection, MEASUREMENTS, row, changes=["letter"])

    def measured(self, connection: Connection, job: str, version: int) -> tuple[Measurement, ...]:
        """Return what was measured of a version, by round.

        Raises:
            RegistryError: a row can't be read.
        """
        at = (MEASUREMENTS.c.job == job, MEASUREMENTS.c.version == version)
        query = select(MEASUREMENTS.c.letter).where(*at).order_by(MEASUREMENTS.c.round)
        try:
            return tuple(opened(Envelope.decode(letter), Measurement) for letter in connection.execute(query).scalars())
        except CodecError as error:
            raise RegistryError(f"figures of version {version} of job {job!r} can't be read: {error}") from error

    def promotions(self, connection: Connection, job: str) -> tuple[Promotion, ...]:
        """Return a job's promotions in order.

        Raises:
            RegistryError: a row can't be read.
        """
        query = select(PROMOTIONS.c.letter).where(PROMOTIONS.c.job == job).order_by(PROMOTIONS.c.number)
        try:
            return tuple(opened(Envelope.decode(letter), Promotion) for letter in connection.execute(query).scalars())
        except CodecError as error:
            raise RegistryError(f"a promotion of job {job!r} can't be read: {error}") from error

    def roles(self, connection: Connection) -> Roles | None:
        """Return the newest roles document under which anything was registered, or None; its root is not checked."""
        query = select(ROLES.c.letter).order_by(ROLES.c.version.desc()).limit(1)
        letter: bytes | None = connection.execute(query).scalar_one_or_none()
        return None if letter is None else opened(Envelope.decode(letter), Roles)

    def statement(self, connection: Connection, entry: Registered, stage: str, time: int) -> Promotion:
        """Return what the publisher has to sign so that a version goes to a stage.

        Raises:
            RegistryError: the stage does not follow the one that the version is in, or its int8 model is too bad.
        """
        version, roles = entry.version, self.roles(connection)
        promotions = self.promotions(connection, version.job)
        now = stages_after(promotions).get(version.version, FIRST_STAGE)
        if stage != "archived":
            check_export(entry, self.measured(connection, version.job, version.version))
        if stage not in NEXT_STAGES[now]:
            raise RegistryError(
                f"version {version.version} is in stage {now}: from there it goes to {' or '.join(NEXT_STAGES[now])}, "
                f"not to {stage}"
            )
        if roles is None:
            raise RegistryError("the registry holds no roles document: nothing was registered yet")
        return Promotion(
            tenant=version.tenant,
            job=version.job,
            number=len(promotions) + 1,
            version=version.version,
            digest=entry.digest,
            stage=stage,
            roles_version=roles.version,
            time=time,
        )

    def promote(self, connection: Connection, letter: bytes) -> Promotion:
        """Take a promotion that the publisher has signed.

        Raises:
            RegistryError: the publisher of the newest roles document didn't sign it, or it is not the statement that
                would be made now.
        """
        roles = self.roles(connection)
        try:
            envelope = Envelope.decode(letter)
            promotion = opened(envelope, Promotion)
            if roles is None:
                raise RegistryError("the registry holds no roles document: nothing was registered yet")
            envelope.check(roles.publisher)
        except (CodecError, SignatureError) as error:
            raise NotThePublisherError(f"this is no promotion by the fleet's publisher: {error}") from error
        entry = self.get(connection, promotion.job, promotion.version)
        if promotion != self.statement(connection, entry, promotion.stage, promotion.time):
            raise OvertakenError("another promotion came first: ask for the signature again")
        row = {name: getattr(promotion, name) for name in ("job", "number", "version", "stage")}
        connection.execute(insert(PROMOTIONS).values(**row, letter=letter))
        for version, stage in stages_after(self.promotions(connection, promotion.job)).items():
            at = (VERSIONS.c.job == promotion.job, VERSIONS.c.version == version)
            connection.execute(update(VERSIONS).where(*at).values(stage=stage))
        return promotion

    def rollback(  # noqa: PLR0917 - what, with whose key, and when
        self, connection: Connection, desk: Desk, entry: Registered, roles: bytes, code: str, time: int
    ) -> Registered:
        """Make a new version with the parameters of an old one; its parent is the newest.

        Raises:
            RegistryError: the newest version has these parameters already.
            MissingBlobError: the old parameters are gone.
            DamagedBlobError: they are damaged.
        """
        old, head = entry.version, self.head(connection, entry.version.job)
        if head is None or head.version.params == old.params:
            raise RegistryError(f"the newest version has the parameters of version {old.version} already")
        version = dataclasses.replace(
            old,
            version=head.version.version + 1,
            origin="rollback",
            parent=head.digest,
            restored=entry.digest,
            round=head.version.round,
            attempt=0,
            plan=b"",
            cohorts=(),
            previous=head.version.transcript,
            transcript=head.version.transcript,
            code=code,
            roles_version=opened(Envelope.decode(roles), Roles).version,
            time=time,
        )
        return self.register(connection, desk, version, params=self.blobs.get(old.params), roles=roles)


def _found(connection: Connection, query: Select[Any]) -> tuple[Registered, ...]:
    return tuple(_registered(row) for row in connection.execute(query))


def _registered(row: Row[Any]) -> Registered:
    try:
        version = opened(Envelope.decode(row.letter), Version)
        return Registered(version=version, digest=bytes.fromhex(row.digest), letter=row.letter, stage=row.stage)
    except (CodecError, ValueError) as error:
        raise RegistryError(f"version {row.version} of job {row.job!r} can't be read: {error}") from error
