"""`accord round`: the rounds of a job as they ended."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aggregator.store import existing
from aggregator.tables import jobs, rounds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `list` and `show`."""
    parser.epilog = "example: accord round list digits --state aggregator-state"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, sentence, example in (
        ("list", "List a job's rounds.", "list digits --state aggregator-state"),
        (
            "show",
            "Show one round: who was in it, what it cost, what it gave.",
            "show digits 7 --state aggregator-state",
        ),
    ):
        action = actions.add_parser(
            name, help=sentence, description=sentence, epilog=f"example: accord round {example}"
        )
        action.add_argument("job", help="the job's name")
        if name == "show":
            action.add_argument("round", type=int, help="its number")
        action.add_argument("--state", type=Path, required=True, metavar="DIR", help="the aggregator's state folder")
        action.add_argument(
            "--database", metavar="URL", help="postgresql+psycopg://..., if it is not in the state folder"
        )
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print the rounds and return 0."""
    store = existing(arguments.state, arguments.database)
    try:
        with store.read() as connection:
            jobs.get(connection, arguments.job)
            found = (
                rounds.of_job(connection, arguments.job)
                if arguments.action == "list"
                else (rounds.get(connection, arguments.job, arguments.round),)
            )
    finally:
        store.close()
    as_json = bool(getattr(arguments, "json", False))
    if arguments.action == "show":
        print(json.dumps({"started": found[0].started, **found[0].record}, indent=None if as_json else 2))
        return 0
    if as_json:
        print(json.dumps([{"started": row.started, **row.record} for row in found]))
        return 0
    print(
        f"{'round':>5}  {'attempt':>7}  {'purpose':9}  {'status':7}  {'in':>3} {'out':>3} {'recovered':>9}  "
        f"{'kB up':>9} {'of it control':>13}  {'kB down':>9} {'of it control':>13}  seconds  at"
    )
    for row in found:
        record = row.record
        counts = [len(record[name]) for name in ("included", "dropped", "recovered")]
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.started))
        print(
            f"{row.round:5}  {row.attempt:7}  {row.purpose:9}  {row.status:7}  {counts[0]:3} {counts[1]:3} "
            f"{counts[2]:9}  {_carried(record)}  {row.seconds:7.1f}  {when}"
            + (f"  {row.reason}" if row.reason else "")
            + _declined(record)
        )
    return 0


def _declined(record: Mapping[str, Any]) -> str:
    """Return how many devices were not offered the round, by reason."""
    counts = Counter(record.get("declined", {}).values())
    return "".join(f"  {count} declined: {reason}" for reason, count in sorted(counts.items()))


def _carried(record: Mapping[str, Any]) -> str:
    """Return the bytes of all devices together, with a sign where some were not measured."""
    found, sign = record["bytes"], "≥" if record["bytes_at_least"] else ""
    cells = [
        (f"{sign}{found[f'bytes_{way}'] / 1000:,.1f}", found.get(f"control_{way}", 0) / 1000) for way in ("up", "down")
    ]
    return "  ".join(f"{every:>9} {control:13,.1f}" for every, control in cells)
