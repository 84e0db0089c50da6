"""`accord device`: the device as a command."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from edge_sdk.client import EdgeClient
from edge_sdk.config import load
from edge_sdk.session_values import Finished, Refused


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `run`."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = commands.add_parser("run", help="connect and take part in rounds until stopped")
    run_parser.add_argument("--config", type=Path, required=True, help="the device's TOML file")
    run_parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Run the device; SIGTERM and SIGINT leave in an orderly way."""

    def told(effect: Finished | Refused) -> None:
        if isinstance(effect, Finished):
            fact = {"round": effect.round, "attempt": effect.attempt, "status": effect.status, "in": effect.included}
        else:
            fact = {"refused": effect.reason, "detail": effect.detail}
        text = json.dumps(fact) if arguments.json else "  ".join(f"{k} {v}" for k, v in fact.items())
        print(text if arguments.json else f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    with EdgeClient(load(arguments.config), told) as edge:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: edge.stop())
        if not arguments.json:
            print("connected; waiting for a round", file=sys.stderr, flush=True)
        edge.run()
    return 0
