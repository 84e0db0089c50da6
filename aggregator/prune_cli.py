"""`accord model prune`: lets the parameters of old versions go, as they are what a long job's disk fills with."""

import argparse
import time

from aggregator import promotion_cli, retention
from aggregator.blobs import BLOBS, Blobs
from aggregator.promotion_cli import Adding, Printed
from aggregator.registry import Registry
from aggregator.store import existing
from aggregator.tables import jobs, pruned


def configure(add: Adding) -> None:
    """Add it."""
    action = add(
        "prune",
        "Delete the parameters of old versions that were never promoted; their records stay and verify. A version "
        "without parameters can't be exported, promoted or rolled back to. The aggregator may run meanwhile.",
        "prune --state aggregator-state --keep 100 --dry-run",
        version=False,
    )
    action.add_argument(
        "--keep",
        type=int,
        default=retention.LEAST,
        metavar="N",
        help="so many of a job's newest versions keep their parameters, %(default)s or more (default %(default)s)",
    )
    action.add_argument("--dry-run", action="store_true", help="say what would go, and delete nothing")


def prune(arguments: argparse.Namespace) -> Printed:
    """Note what goes, make that durable, and delete the files then.

    Raises:
        UsageError: too few are to be kept, there is no such job, or it is not clear whose versions or what is needed.
        RegistryError: a row can't be read.
        FileError: a file can't be deleted.
    """
    blobs, store = Blobs(arguments.state / BLOBS), existing(arguments.state, arguments.database)
    registry = Registry(blobs)
    try:
        with store.read() if arguments.dry_run else store.begin() as connection:
            job = promotion_cli.job_of(arguments, connection, registry)
            (jobs.get if arguments.dry_run else jobs.locked)(connection, job)  # nobody refers to a version meanwhile
            found = retention.prunable(connection, registry, job, arguments.keep)
            leaving = {job: frozenset(entry.version.version for entry in found)}
            needed = retention.needed(connection, leaving)  # which refuses what `collect` would, before it is noted
            sizes = {one.params: one.params_size for one in (e.version for e in found) if one.params not in needed}
            if not arguments.dry_run:
                pruned.put(connection, job, (entry.version.version for entry in found), time.time())
        removed = 0
        if not arguments.dry_run:
            with store.read() as connection:
                removed = retention.let_go(connection, blobs, sizes)
                removed += retention.collect(connection, blobs, time.time())
    finally:
        store.close()
    versions, freed = [entry.version.version for entry in found], sum(sizes.values())
    said = "would go" if arguments.dry_run else "are let go"
    lines = [f"{job}: the parameters of {len(versions)} versions {said}, {freed / 1e6:.1f} MB"]
    lines += [f"{removed} files deleted"] if not arguments.dry_run else []
    facts = {"job": job, "versions": versions, "bytes": freed, "dry_run": arguments.dry_run, "files": removed}
    return facts, lines, 0
