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


SENTENCES = {
    "round": "round {round} ({purpose}) attempt {attempt} {status}: {counts}, {seconds} s{down}",
    "figures": "round {round} ({purpose}) sums: {shown}",
    "aborted": "round {round} attempt {attempt} aborted: {reason}, {detail}",
    "withdrew": "round {round} attempt {attempt}: {device} withdrew, {reason}",
    "declined": "round {round} attempt {attempt} without {device}: {reason}",
    "refused": "refused {device}: {reason}, {detail}",
    "secured": "profile {profile}, as {why}",
    "failed": "job {job} can't go on: {reason}",
    "ended": "job {job} is {status}",
    "asked": "{device} asks to be enrolled: `accord fleet approve` answers it",
    "roles": "roles version {version} is in force, {days} days left",
    "roles ending": "roles version {version} ends in {days} days; sign the next one where the root lies, by "
    "`accord fleet roles`: no device starts without",
    "revocations": "revocation list {version} counts from the next round on{gone}",
}
"""What each event of `AggregatorService` says to people."""


def text_of(fact: Mapping[str, Any]) -> str:
    """Return a record of `AggregatorService` as a line for people."""
    more: dict[str, str] = {}
    match fact["event"]:
        case "round":
            counts = ", ".join(f"{len(fact[name])} {name}" for name in ("included", "dropped", "recovered"))
            down = f"; released as {fact['way_down']}: {fact['way_down_because']}" if fact.get("way_down") else ""
            more = {"counts": counts, "down": down}
        case "figures":
            more = {"shown": ", ".join(f"{name} {values[0]:g}" for name, values in fact["figures"].items())}
        case "revocations":
            more = {"gone": f": {', '.join(fact['devices'])} revoked" if fact["devices"] else ""}
    return SENTENCES[fact["event"]].format_map({**fact, **more})
