"""`accord device list`: the devices as the aggregator knows them."""

import argparse
import json
import time
from pathlib import Path

from aggregator.store import existing
from aggregator.tables import devices


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
    finally:
        store.close()
    if arguments.json:
        print(json.dumps([vars(row) | {"identity": row.identity.hex()} for row in found]))
        return 0
    print(f"{'device':24}  {'status':22}  {'here':4}  {'last seen':19}  {'rounds':>6}  {'kB up':>10}  {'kB down':>10}")
    for row in found:
        seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.last_seen)) if row.last_seen else "never"
        here = "yes" if row.online else "no"
        status = f"{row.status}: {row.reason}" if row.reason else row.status
        carried = f"{row.bytes_up / 1000:10.1f}  {row.bytes_down / 1000:10.1f}"
        print(f"{row.name:24}  {status:22}  {here:4}  {seen:19}  {row.rounds:6}  {carried}")
    return 0
