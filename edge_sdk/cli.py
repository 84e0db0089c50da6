"""`accord device`: the device as a command."""

import argparse
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

from accord.errors import AccordError
from accord.files import DISK, FolderLock
from edge_sdk.conditions import Unmet
from edge_sdk.config import load
from edge_sdk.session_values import Finished, Limits, Refused

EPILOG = """exit code: 0 it took part, there was nothing to do, or it was stopped; 1 an error
an attempt that was left under way is gone on with by the next run
as a service: deploy/systemd/accord-device.service; from cron, or where processes are started on demand: --once
example: accord device run --config device.toml --once --timeout 600"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `enrol`, `renew`, `run`, `status`, `erase` and `doctor`."""
    parser.epilog = "example: accord device run --config dev-000/device.toml"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, sentence: str, *, config: bool = True, epilog: str = "") -> argparse.ArgumentParser:
        found = commands.add_parser(
            name,
            help=sentence,
            description=sentence,
            epilog=epilog or f"example: accord device {name} --config dev-000/device.toml",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        found.add_argument("--config", type=Path, required=config, help="the device's TOML file")
        found.add_argument("--json", action="store_true", help="print JSON instead of text")
        return found

    _configure_enrol(commands)
    renew_parser = add("renew", "take up the certificate that enrolment has renewed")
    renew_parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait (default %(default)s)")
    run_parser = add(
        "run", "connect and take part in rounds until stopped; with --json one object per line", epilog=EPILOG
    )
    run_parser.add_argument("--once", action="store_true", help="leave after one finished attempt")
    run_parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="leave after so long with nothing to do: no round was joined or, in a round, nothing came",
    )
    add("status", "tell where the device stands, from its state folder")
    erase_parser = add("erase", "delete the device's secrets, journal and examples; it must be enrolled anew")
    erase_parser.add_argument("--yes", action="store_true", help="really delete; without it, only tell what would go")
    add("doctor", "look for what may keep the device from taking part, and tell what to do", config=False)


def _configure_enrol(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sentence = "make this device's key, ask for a certificate, wait for it, and write device.toml; run again it goes on"
    found = commands.add_parser(
        "enrol",
        help=sentence,
        description=sentence,
        epilog="example: accord device enrol pi-7.invite --state state --bundle bundle",
    )
    found.add_argument("invite", type=Path, metavar="FILE", help="the invitation, of mode 0600")
    found.add_argument("--state", type=Path, required=True, metavar="DIR", help="the device's state folder")
    found.add_argument("--bundle", type=Path, metavar="FILE", help="what it trains (default: bundle in DIR)")
    found.add_argument("--data", type=Path, metavar="FILE", help="its rows; without it, its example store")
    found.add_argument("--smallest-cohort", type=int, metavar="N", help="refuse fewer members in a sum (default 20)")
    found.add_argument(
        "--session",
        choices=("plain", "derived", "unqueued"),
        default="plain",
        help="the MQTT client id: plain, the device's own; derived, one that nobody guesses; unqueued, that and no "
        "queue at the broker, for NATS (default plain)",
    )
    found.add_argument("--websocket", default="", metavar="PATH", help="reach the broker by WebSocket, such as /mqtt")
    found.add_argument("--proxy", default="", metavar="URL", help="an HTTP proxy that lets out, http://HOST:PORT")
    found.add_argument("--proxy-login", type=Path, metavar="FILE", help="USER:PASSWORD for it, of mode 0600")
    found.add_argument("--server-name", default="", metavar="NAME", help="in the broker's certificate, if not its host")
    found.add_argument("--timeout", type=float, default=600.0, help="seconds to wait (default %(default)s)")
    found.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action."""
    actions = {
        "enrol": _enrol,
        "renew": _renew,
        "run": _run,
        "status": _status,
        "erase": _erase,
        "doctor": _doctor,
    }
    return actions[arguments.action](arguments)


def _enrol(arguments: argparse.Namespace) -> int:
    from edge_sdk.config_file import Way, Work  # noqa: PLC0415 - each action loads what it needs
    from edge_sdk.enrolling import enrol  # noqa: PLC0415 - the same

    if arguments.smallest_cohort is not None:
        Limits(smallest_cohort=arguments.smallest_cohort)  # refuses what the configuration would be refused for
    work = Work(
        bundle=arguments.bundle,
        data=arguments.data,
        smallest_cohort=arguments.smallest_cohort,
        session=arguments.session,
    )
    way = Way(
        server_name=arguments.server_name,
        websocket=arguments.websocket,
        proxy=arguments.proxy,
        proxy_login=arguments.proxy_login,
    )
    done = enrol(arguments.invite, arguments.state, work, told=_progress, timeout=arguments.timeout, way=way)
    if done is None:
        raise AccordError("nobody has approved this device yet: run the same command again, it goes on waiting")
    facts = {"device": done.device, "serial": done.serial, "config": str(done.config), "before": done.before}
    text = f"{done.device} {'was enrolled before' if done.before else 'is enrolled'}: certificate {done.serial}"
    print(json.dumps(facts) if arguments.json else f"{text}; next: accord device run --config {done.config}")
    return 0


def _renew(arguments: argparse.Namespace) -> int:
    from edge_sdk.enrolling import renew  # noqa: PLC0415 - each action loads what it needs

    config = load(arguments.config)
    done = renew(config, arguments.config, told=_progress, timeout=arguments.timeout)
    if done is None:
        raise AccordError("no answer: is the aggregator running? Try again later")
    facts = {"device": done.device, "serial": done.serial, "renewed": not done.before}
    text = f"{done.device}: certificate {done.serial}, {'as before' if done.before else 'renewed'}"
    print(json.dumps(facts) if arguments.json else text)
    return 0


def _progress(name: str, sentence: str) -> None:
    print(f"{name}: {sentence}", file=sys.stderr, flush=True)


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
    if arguments.yes and DISK.exists(config.state):
        lock = FolderLock(config.state)
        try:
            names = erase(config.state)
        finally:
            lock.close()
    else:
        names = contents(config.state)
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
    from accord.link.notify import Notifier  # noqa: PLC0415 - each action loads what it needs
    from edge_sdk.client import EdgeClient  # noqa: PLC0415 - the same

    notifier, finished = Notifier(), 0

    def line(fact: dict[str, Any]) -> None:
        text = json.dumps(fact) if arguments.json else "  ".join(f"{k} {v}" for k, v in fact.items())
        print(text if arguments.json else f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def told(effect: Finished | Refused) -> None:
        nonlocal finished
        if isinstance(effect, Finished):
            finished += 1
            notifier.status(f"round {effect.round} is {effect.status}; waiting for the next one")
            line({"round": effect.round, "attempt": effect.attempt, "status": effect.status, "in": effect.included})
        else:
            line({"refused": effect.reason, "detail": effect.detail})

    def rested(unmet: tuple[Unmet, ...]) -> None:
        names = ", ".join(item.name for item in unmet)
        notifier.status(f"resting: {names} must hold" if names else "waiting for a round")
        line({"resting_for": {item.name: item.detail for item in unmet}})

    def renewed(serial: int) -> None:
        line({"renewed": serial})

    with EdgeClient(load(arguments.config), told, rested=rested, renewed=renewed, turned=notifier.alive) as edge:

        def stop(*_signal: object) -> None:
            notifier.stopping()
            edge.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        notifier.ready("connected; waiting for a round")
        if not arguments.json:
            print("connected; waiting for a round", file=sys.stderr, flush=True)
        edge.run(rounds=1 if arguments.once else None, quiet=arguments.timeout)
    if arguments.once and not finished:
        line({"left": "nothing more to do for now"})
    return 0


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return found
