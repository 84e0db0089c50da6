"""`accord fleet`: a fleet's keys and documents."""

import argparse
import json
import time
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from aggregator.fleet_folder import NewFleet, create

DAY = 86_400


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `init`."""
    parser.epilog = "example: accord fleet init --dev fleet --devices 3"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = commands.add_parser(
        "init",
        help="make a fleet's keys, roles, certificates and one key file per device",
        description="Make a fleet. With --dev every key lies in one folder: good for development and demos only, "
        "as whoever reads it can enrol devices and sign models.",
        epilog=parser.epilog,
    )
    init.add_argument("--dev", type=Path, required=True, metavar="DIR", help="the folder to make it in")
    init.add_argument("--tenant", default="fleet", help="its name in topics and documents (default %(default)s)")
    init.add_argument("--devices", type=int, default=12, help="dev-000, dev-001, ... (default %(default)s)")
    init.add_argument("--days", type=int, default=90, help="until documents and certificates end (default %(default)s)")
    init.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Make the fleet and return 0."""
    if not 1 <= arguments.devices <= 100_000 or not 1 <= arguments.days <= 36_500:
        raise UsageError("--devices is from 1 to 100000 and --days from 1 to 36500")
    names = tuple(f"dev-{number:03d}" for number in range(arguments.devices))
    fleet = NewFleet(tenant=arguments.tenant, devices=names, expires=int(time.time()) + arguments.days * DAY)
    folder = create(arguments.dev, fleet, SystemEntropy())
    if arguments.json:
        print(json.dumps({"path": str(folder.path), "tenant": fleet.tenant, "devices": list(names)}))
    else:
        print(f"fleet {fleet.tenant} with {len(names)} devices in {folder.path}; note: {fleet.note}")
    return 0
