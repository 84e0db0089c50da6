"""`accord device list`: the devices as the aggregator knows them."""

import argparse
import json
import time
from pathlib import Path

from sqlalchemy import Connection

from aggregator.store import existing
from aggregator.tables import devices, jobs, rounds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.epilog = "example: accord device list --state aggregator-state"
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the aggregator's state folder")
    parser.add_argument("--database", metavar="URL", help="postgresql+psycopg://..., if it is not in the state folder")


def run(arguments: argparse.Namespace) -> int:
    """Print the devices and return 0."""
    store = existing(arguments.state, arguments.database)
    try:
        with store.read() as connection:
            found = devices.every(connection)
            declined = _declined(connection)
    finally:
        store.close()
    if arguments.json:
        facts = [vars(row) | {"identity": row.identity.hex(), "declined": declined.get(row.name, "")} for row in found]
        print(json.dumps(facts))
        return 0
    print(f"{'device':24}  {'status':22}  {'here':4}  {'last seen':19}  {'rounds':>6}  {'kB up':>10}  {'kB down':>10}")
    for row in found:
        seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.last_seen)) if row.last_seen else "never"
        here = "yes" if row.online else "no"
        status = f"{row.status}: {row.reason}" if row.reason else row.status
        carried = f"{row.bytes_up / 1000:10.1f}  {row.bytes_down / 1000:10.1f}"
        waits = f"  not in the newest round: {declined[row.name]}" if row.name in declined else ""
        print(f"{row.name:24}  {status:22}  {here:4}  {seen:19}  {row.rounds:6}  {carried}{waits}")
    return 0


def _declined(connection: Connection) -> dict[str, str]:
    """Return who was not offered the newest round of a job, and why."""
    newest = (rounds.last(connection, job.name) for job in jobs.every(connection))
    return {name: why for row in newest if row is not None for name, why in row.record.get("declined", {}).items()}
