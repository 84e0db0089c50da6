"""`accord job`: start, list, follow, stop and resume the jobs of a running aggregator, through its store."""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accord.errors import UsageError
from aggregator import job_config
from aggregator.blobs import BLOBS, Blobs
from aggregator.cli import text_of
from aggregator.config import load_job
from aggregator.job_maker import add_job
from aggregator.store import Store, database_of, existing
from aggregator.tables import jobs, lines

POLL = 0.5
"""Seconds between two looks for new lines."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per action."""
    parser.epilog = "example: accord job list --state aggregator-state"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, sentence: str, example: str, *, job: bool = True) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=sentence, description=sentence, epilog=f"example: accord job {example}")
        if job:
            action.add_argument("job", help="the job's name")
        action.add_argument("--state", type=Path, required=True, metavar="DIR", help="the aggregator's state folder")
        action.add_argument(
            "--database", metavar="URL", help="postgresql+psycopg://..., if it is not in the state folder"
        )
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of text")
        return action

    start = add(
        "start",
        "Start a job: the aggregator that runs over this state folder takes it up within a second.",
        "start --config job.toml --state aggregator-state",
        job=False,
    )
    start.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="TOML with [job], [training] and [windows]"
    )
    add("list", "List the jobs and where they stand.", "list --state aggregator-state", job=False)
    logs = add("logs", "Show what happened in a job.", "logs digits -f --state aggregator-state")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come, until the job is over")
    logs.add_argument("-n", "--lines", type=int, default=100, help="the newest so many lines (default %(default)s)")
    add("stop", "Stop a job once its round is over; `resume` goes on.", "stop digits --state aggregator-state")
    add("resume", "Let a stopped or failed job go on where it was.", "resume digits --state aggregator-state")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked and return 0."""
    if arguments.action == "start":  # a job may be put in before the aggregator's first start
        store = Store(arguments.database or database_of(arguments.state))
    else:
        store = existing(arguments.state, arguments.database)
    try:
        match arguments.action:
            case "start":
                return _start(arguments, store)
            case "list":
                return _list(arguments, store)
            case "logs":
                return _logs(arguments, store)
            case _:
                return _change(arguments, store)
    finally:
        store.close()


def _as_json(arguments: argparse.Namespace) -> bool:
    return bool(getattr(arguments, "json", False))


def _start(arguments: argparse.Namespace, store: Store) -> int:
    config = load_job(arguments.config)
    secured = add_job(store, Blobs(arguments.state / BLOBS), config)
    if _as_json(arguments):
        fact = {"job": config.name, "status": "waiting", "profile": secured.profile, "why": secured.why}
        print(json.dumps(fact))
    else:
        print(f"profile {secured.profile}, as {secured.why}")
        print(f"job {config.name} waits for the aggregator; follow it: accord job logs {config.name} -f")
    return 0


def _list(arguments: argparse.Namespace, store: Store) -> int:
    with store.read() as connection:
        found = jobs.every(connection)
    if _as_json(arguments):
        print(json.dumps([_fact(row) for row in found]))
        return 0
    print(f"{'job':24}  {'status':8}  {'rounds closed':>13}  created")
    for row in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created))
        print(f"{row.name:24}  {row.status:8}  {row.round:13}  {when}" + (f"  {row.error}" if row.error else ""))
    return 0


def _fact(row: jobs.JobRow) -> dict[str, Any]:
    secured = job_config.from_tables(row.config, f"job {row.name}").settings(outputs=1).secured
    return {
        "job": row.name,
        "status": row.status,
        "profile": secured.profile,
        "why": secured.why,
        "round": row.round,
        "created": row.created,
        "error": row.error,
        "config": row.config,
    }


def _logs(arguments: argparse.Namespace, store: Store) -> int:
    with store.read() as connection:
        jobs.get(connection, arguments.job)
        found = lines.last(connection, arguments.job, arguments.lines)
    last = 0
    while True:
        for line in found:
            last = line.id
            _print(arguments, line.time, line.record)
        if not arguments.follow:
            return 0
        with store.read() as connection:
            over = jobs.get(connection, arguments.job).status in ("done", "failed", "stopped")
            found = lines.since(connection, arguments.job, last)
        if over and not found:
            return 0
        if not found:
            time.sleep(POLL)


def _print(arguments: argparse.Namespace, when: float, record: Mapping[str, Any]) -> None:
    if _as_json(arguments):
        print(json.dumps({"time": when, **record}), flush=True)
    else:
        print(f"{time.strftime('%H:%M:%S', time.localtime(when))}  {text_of(record)}", flush=True)


def _change(arguments: argparse.Namespace, store: Store) -> int:
    wanted, before = {"stop": ("stopped", ("waiting", "running")), "resume": ("waiting", ("stopped", "failed"))}[
        arguments.action
    ]
    with store.begin() as connection:
        row = jobs.get(connection, arguments.job)
        if row.status not in before:
            raise UsageError(f"job {row.name} is {row.status}: only a {' or '.join(before)} job can be {wanted}")
        jobs.set_status(connection, row.name, wanted)
    if _as_json(arguments):
        print(json.dumps({"job": arguments.job, "status": wanted}))
    else:
        print(f"job {arguments.job} " + ("stops after its round" if wanted == "stopped" else "goes on"))
    return 0
