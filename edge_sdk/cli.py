"""`accord device`: the device as a command."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from edge_sdk.conditions import Unmet
from edge_sdk.config import load
from edge_sdk.session_values import Finished, Refused


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `run`, `status`, `erase` and `doctor`."""
    parser.epilog = "example: accord device run --config dev-000/device.toml"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, sentence: str, *, config: bool = True) -> argparse.ArgumentParser:
        example = f"example: accord device {name} --config dev-000/device.toml"
        found = commands.add_parser(name, help=sentence, description=sentence, epilog=example)
        found.add_argument("--config", type=Path, required=config, help="the device's TOML file")
        found.add_argument("--json", action="store_true", help="print JSON instead of text")
        return found

    run_parser = add("run", "connect and take part in rounds until stopped; with --json one object per line")
    run_parser.add_argument("--once", action="store_true", help="leave after one finished attempt")
    add("status", "tell where the device stands, from its state folder")
    erase_parser = add("erase", "delete the device's secrets, journal and examples; it must be enrolled anew")
    erase_parser.add_argument("--yes", action="store_true", help="really delete; without it, only tell what would go")
    add("doctor", "look for what may keep the device from taking part, and tell what to do", config=False)


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action."""
    return {"run": _run, "status": _status, "erase": _erase, "doctor": _doctor}[arguments.action](arguments)


def _status(arguments: argparse.Namespace) -> int:
    from edge_sdk.status import status  # noqa: PLC0415 - each action loads what it needs

    found = status(load(arguments.config))
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:12} {value}")
    return 0


def _erase(arguments: argparse.Namespace) -> int:
    from edge_sdk.erasure import contents, erase  # noqa: PLC0415 - each action loads what it needs

    config = load(arguments.config)
    outside = [str(p) for p in (config.identity, config.password, config.data) if p and config.state not in p.parents]
    names = erase(config.state) if arguments.yes else contents(config.state)
    if arguments.json:
        print(json.dumps({"erased": arguments.yes, "files": list(names), "left_outside": outside}))
    else:
        print(f"{'erased' if arguments.yes else 'would be erased'}: {', '.join(names) or 'nothing'}")
        if outside:
            print(f"outside the state folder, and left: {', '.join(outside)}")
        if not arguments.yes:
            print("stop the device, then say --yes to erase")
    return 0 if arguments.yes else 1


def _doctor(arguments: argparse.Namespace) -> int:
    from edge_sdk.doctor import examine  # noqa: PLC0415 - each action loads what it needs

    findings = list(examine(None if arguments.config is None else load(arguments.config)))
    if arguments.json:
        lines = [{"name": f.name, "found": f.found, "fix": f.fix} for f in findings]
        print(json.dumps({"healthy": not any(f.fix for f in findings), "findings": lines}))
    else:
        for finding in findings:
            print(f"{'FIX' if finding.fix else 'ok':4} {finding.name:24} {finding.found}")
            if finding.fix:
                print(f"     {'':24} -> {finding.fix}")
    return 1 if any(finding.fix for finding in findings) else 0


def _run(arguments: argparse.Namespace) -> int:
    """Run the device; SIGTERM and SIGINT leave in an orderly way."""
    from edge_sdk.client import EdgeClient  # noqa: PLC0415 - each action loads what it needs

    def line(fact: dict[str, Any]) -> None:
        text = json.dumps(fact) if arguments.json else "  ".join(f"{k} {v}" for k, v in fact.items())
        print(text if arguments.json else f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def told(effect: Finished | Refused) -> None:
        if isinstance(effect, Finished):
            line({"round": effect.round, "attempt": effect.attempt, "status": effect.status, "in": effect.included})
        else:
            line({"refused": effect.reason, "detail": effect.detail})

    def rested(unmet: tuple[Unmet, ...]) -> None:
        line({"resting_for": {item.name: item.detail for item in unmet}})

    with EdgeClient(load(arguments.config), told, rested=rested) as edge:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: edge.stop())
        if not arguments.json:
            print("connected; waiting for a round", file=sys.stderr, flush=True)
        edge.run(rounds=1 if arguments.once else None)
    return 0
