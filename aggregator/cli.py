"""`accord aggregator`: the coordinator as a command."""

import argparse
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aggregator.config import load
from aggregator.service import AggregatorService


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `serve`."""
    parser.epilog = "example: accord aggregator serve --config aggregator.toml"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    serve = commands.add_parser("serve", help="run a job's rounds over a broker", epilog=parser.epilog)
    serve.add_argument("--config", type=Path, required=True, help="the aggregator's TOML file")
    serve.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Run the job; SIGTERM and SIGINT leave in an orderly way."""

    def told(fact: Mapping[str, Any]) -> None:
        print(json.dumps(fact) if arguments.json else text_of(fact), flush=True)

    service = AggregatorService(load(arguments.config), told)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    if not arguments.json:
        print("connected; waiting for devices", file=sys.stderr, flush=True)
    try:
        service.run()
    finally:
        service.close()
    return 0


def text_of(fact: Mapping[str, Any]) -> str:  # noqa: PLR0911 - one for each kind of event
    """Return a record of `AggregatorService` as a line for people."""
    match fact["event"]:
        case "round":
            counts = ", ".join(f"{len(fact[name])} {name}" for name in ("included", "dropped", "recovered"))
            return (
                f"round {fact['round']} ({fact['purpose']}) attempt {fact['attempt']} {fact['status']}: "
                f"{counts}, {fact['seconds']} s"
            )
        case "figures":
            shown = ", ".join(f"{name} {values[0]:g}" for name, values in fact["figures"].items())
            return f"round {fact['round']} ({fact['purpose']}) sums: {shown}"
        case "aborted":
            return f"round {fact['round']} attempt {fact['attempt']} aborted: {fact['reason']}, {fact['detail']}"
        case "failed":
            return f"job {fact['job']} can't go on: {fact['reason']}"
        case "ended":
            return f"job {fact['job']} is {fact['status']}"
        case "asked":
            return f"{fact['device']} asks to be enrolled: `accord fleet approve` answers it"
        case "revocations":
            gone = f": {', '.join(fact['devices'])} revoked" if fact["devices"] else ""
            return f"revocation list {fact['version']} counts from the next round on{gone}"
        case _:
            return f"refused {fact['device']}: {fact['reason']}, {fact['detail']}"
