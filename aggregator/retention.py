"""Which blobs are still needed, and which versions' parameters may go: what a job's disk use is bounded by.

Rows first, files after: a file goes once nothing that is durable refers to it, so whoever is killed in between leaves
files that the next `collect` removes, and never a row whose file is gone unsaid.
"""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sqlalchemy import Connection, select

from accord.errors import CodecError, UsageError
from aggregator.blobs import Blobs
from aggregator.deltas import BACK
from aggregator.job_state import JobState
from aggregator.registry import Registry
from aggregator.registry_values import FIRST_STAGE, Registered, RegistryError
from aggregator.schema import VERSIONS
from aggregator.store import Store
from aggregator.tables import jobs, pruned

LOG = logging.getLogger("accord.aggregator")
GRACE = 3_600.0
"""Seconds for which a file stays that nothing refers to: a command that has put it may not have committed yet."""
NOBODY: Mapping[str, frozenset[int]] = MappingProxyType({})
LEAST = BACK + 1
"""Versions that are always kept: the newest one, and those from which devices are given a delta to it."""


def needed(connection: Connection, leaving: Mapping[str, frozenset[int]] = NOBODY) -> frozenset[bytes]:
    """Return the digest of every blob that a version or a job refers to.

    Args:
        connection: in a transaction.
        leaving: versions of jobs that will not refer to their parameters any more.

    Raises:
        UsageError: where a job stands that may go on can't be read: nobody knows what it needs.
    """
    found: set[str] = set()
    of_jobs = connection.execute(select(VERSIONS.c.job).distinct()).scalars()
    gone = {job: pruned.of(connection, job) | leaving.get(job, frozenset()) for job in of_jobs}
    for row in connection.execute(select(VERSIONS.c.job, VERSIONS.c.version, VERSIONS.c.params, VERSIONS.c.bundle)):
        found |= {row.bundle} if row.version in gone[row.job] else {row.bundle, row.params}
    bundles = {job.config["bundle"] for job in jobs.every(connection) if "bundle" in job.config}
    return (frozenset(map(bytes.fromhex, found | bundles)) | of_states(connection)) - {b""}


def of_states(connection: Connection) -> frozenset[bytes]:
    """Return the digest of every blob that where a job stands refers to.

    Raises:
        UsageError: where a job stands that may go on can't be read.
    """
    names: set[bytes] = set()
    for job in jobs.every(connection):
        if job.state is None:
            continue
        try:
            state = JobState.decode(job.state)
        except CodecError as error:
            if job.status == "done":  # nothing goes on from it, and its versions say what they need
                continue
            raise UsageError(
                f"where job {job.name} stands was written by another version of Accord: nothing is deleted until that "
                "version has ended it"
            ) from error
        names |= {state.params, *state.beside}
    return frozenset(names)


def collect(connection: Connection, blobs: Blobs, now: float) -> int:
    """Delete the files that nothing refers to, and return how many these were.

    Args:
        connection: nothing may be written in it that is not durable.
        blobs: the store's.
        now: wall time in seconds; what was put in the last hour stays.

    Raises:
        UsageError: see `needed`.
        FileError: a file can't be deleted.
    """
    return blobs.collect(needed(connection), now - GRACE)


def let_go(connection: Connection, blobs: Blobs, params: Iterable[bytes]) -> int:
    """Delete files that were referred to until now, whenever they were put; return how many these were.

    Args:
        connection: as for `collect`.
        blobs: the store's.
        params: digests; those that something else refers to stay.
    """
    gone = {name for name in params if name in blobs} - needed(connection)
    for name in gone:
        blobs.drop(name)
    return len(gone)


def tidied(store: Store, blobs: Blobs, now: float) -> Blobs:
    """Return `blobs` without what a process that was killed has left among them; where nobody knows, all stays."""
    try:
        with store.read() as connection:
            gone = collect(connection, blobs, now)
    except UsageError as error:
        LOG.warning("%s", error)
        return blobs
    if gone:
        LOG.info("%d files that nothing refers to were deleted", gone)
    return blobs


def check_there(connection: Connection, registry: Registry, entry: Registered) -> None:
    """Refuse a version whose parameters were let go and are not there any more.

    Raises:
        RegistryError: they are not.
    """
    version = entry.version
    if version.params not in registry.blobs and version.version in pruned.of(connection, version.job):
        raise _let_go(entry)


def check_kept(connection: Connection, entry: Registered) -> None:
    """Refuse to say anything new of a version whose parameters were let go, though their file may still be there.

    Whoever lets them go deletes the file once that is durable, and looks at nothing that was said meanwhile.

    Args:
        connection: in a transaction that writes; until it ends nothing of the job is let go.
        entry: the version.

    Raises:
        RegistryError: they were let go, and nothing else keeps them.
        UsageError: see `needed`.
    """
    version = entry.version
    jobs.locked(connection, version.job)
    if version.version in pruned.of(connection, version.job) and version.params not in needed(connection):
        raise _let_go(entry)


def _let_go(entry: Registered) -> RegistryError:
    version = entry.version
    return RegistryError(
        f"the parameters of version {version.version} of job {version.job} were let go by `accord model prune`: choose "
        "another version, or take it from a backup of the state folder that was made before"
    )


def prunable(connection: Connection, registry: Registry, job: str, keep: int) -> tuple[Registered, ...]:
    """Return the versions of a job whose parameters may go: old candidates that nobody has promoted.

    Args:
        connection: in a transaction.
        registry: the versions.
        job: whose.
        keep: so many of the newest stay; version 0 stays, too, as do those that were ever promoted.

    Raises:
        UsageError: fewer are to be kept than devices may be given deltas from.
    """
    if keep < LEAST:
        raise UsageError(f"--keep {keep} is fewer than the {LEAST} newest versions, from which devices get deltas")
    every, gone = registry.every(connection, job), pruned.of(connection, job)
    promoted = {promotion.version for promotion in registry.promotions(connection, job)}
    kept = {entry.version.params for entry in every[-keep:]}
    return tuple(
        entry
        for entry in every[1:-keep]
        if entry.stage == FIRST_STAGE
        and entry.version.version not in promoted | gone
        and entry.version.params not in kept
    )
