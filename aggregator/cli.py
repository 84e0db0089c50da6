"""`accord aggregator`: the coordinator as a command."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accord.link.notify import Notifier
from aggregator.config import load
from aggregator.service import AggregatorService


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `serve`."""
    parser.epilog = "example: accord aggregator serve --config aggregator.toml"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    serve = commands.add_parser(
        "serve",
        help="run rounds over a broker",
        description="Run the jobs of a state folder over a broker, until stopped; started again, they go on where they "
        "were. With a [job] in the file, run that one and end with it. A unit for systemd is "
        "deploy/systemd/accord-aggregator.service.",
        epilog="example: accord aggregator serve --config aggregator.toml",
    )
    serve.add_argument("--config", type=Path, required=True, help="the aggregator's TOML file")
    serve.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Run the jobs; SIGTERM and SIGINT leave in an orderly way, and the round under way goes on at the next start."""

    def told(fact: Mapping[str, Any]) -> None:
        print(json.dumps(fact) if arguments.json else text_of(fact), flush=True)

    notifier = Notifier()
    service = AggregatorService(load(arguments.config), told_to(notifier, told), turned=notifier.alive)
    stop_by_signal(notifier, service)
    notifier.ready("connected; waiting for devices")
    if not arguments.json:
        print("connected; waiting for devices", file=sys.stderr, flush=True)
    try:
        service.run()
    finally:
        service.close()
    return 0


def told_to(notifier: Notifier, told: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """Return what tells the service manager of each fact, too."""

    def both(fact: Mapping[str, Any]) -> None:
        job = fact.get("job")
        notifier.status(f"{job}: {text_of(fact)}" if job else text_of(fact))
        told(fact)

    return both


def stop_by_signal(notifier: Notifier, service: AggregatorService) -> None:
    """Let SIGTERM and SIGINT end the service."""

    def stop(*_signal: object) -> None:
        notifier.stopping()
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def text_of(fact: Mapping[str, Any]) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each kind of event
    """Return a record of `AggregatorService` as a line for people."""
    match fact["event"]:
        case "round":
            counts = ", ".join(f"{len(fact[name])} {name}" for name in ("included", "dropped", "recovered"))
            down = f"; released as {fact['way_down']}: {fact['way_down_because']}" if fact.get("way_down") else ""
            return (
                f"round {fact['round']} ({fact['purpose']}) attempt {fact['attempt']} {fact['status']}: "
                f"{counts}, {fact['seconds']} s{down}"
            )
        case "figures":
            shown = ", ".join(f"{name} {values[0]:g}" for name, values in fact["figures"].items())
            return f"round {fact['round']} ({fact['purpose']}) sums: {shown}"
        case "aborted":
            return f"round {fact['round']} attempt {fact['attempt']} aborted: {fact['reason']}, {fact['detail']}"
        case "secured":
            return f"profile {fact['profile']}, as {fact['why']}"
        case "failed":
            return f"job {fact['job']} can't go on: {fact['reason']}"
        case "ended":
            return f"job {fact['job']} is {fact['status']}"
        case "asked":
            return f"{fact['device']} asks to be enrolled: `accord fleet approve` answers it"
        case "roles":
            return f"roles version {fact['version']} is in force, {fact['days']} days left"
        case "roles ending":
            advice = "sign the next one where the root lies, by `accord fleet roles`: no device starts without"
            return f"roles version {fact['version']} ends in {fact['days']} days; {advice}"
        case "revocations":
            gone = f": {', '.join(fact['devices'])} revoked" if fact["devices"] else ""
            return f"revocation list {fact['version']} counts from the next round on{gone}"
        case "withdrew":
            return f"round {fact['round']} attempt {fact['attempt']}: {fact['device']} withdrew, {fact['reason']}"
        case "declined":
            return f"round {fact['round']} attempt {fact['attempt']} without {fact['device']}: {fact['reason']}"
        case _:
            return f"refused {fact['device']}: {fact['reason']}, {fact['detail']}"
