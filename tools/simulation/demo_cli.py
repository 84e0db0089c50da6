"""`accord demo`: the demo with a live table and a report, or one JSON object."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from accord.plan import KEYS, OPTIMISERS
from accord.secagg.planner import PROFILES
from simulation.demo import Demo
from simulation.demo_rounds import Audience
from simulation.demo_settings import DemoSettings
from simulation.history import History
from simulation.live import LiveTable
from simulation.report import check_place, render, write
from simulation.rig_broker import BROKERS
from simulation.scenarios.scenario import DEFAULTS, NAMES


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options; the defaults are those of `DemoSettings`."""
    default = DemoSettings()
    parser.epilog = "example: accord demo --devices 6 --rounds 5 --keep demo-state"
    add = parser.add_argument
    add(
        "--scenario",
        choices=NAMES,
        default=default.scenario,
        help="fashion: a CNN from nothing; pretrained: the last blocks of Magika in int8, on pieces of files; minilm: "
        "the last block of MiniLM in int8, on Shakespeare's plays (default %(default)s)",
    )
    add("--devices", type=int, help=f"device processes (default {_usual('devices')})")
    add("--rounds", type=int, help=f"training rounds (default {_usual('rounds')})")
    add("--broker", choices=BROKERS, default=default.broker, help="which broker to start (default %(default)s)")
    add("--rows", type=int, help=f"most training rows (default {_usual('rows')})")
    add(
        "--optimiser",
        choices=OPTIMISERS,
        default=default.optimiser,
        help="of devices and baselines (default %(default)s)",
    )
    rates = _usual("learning_rate")
    add("--lr", type=float, help=f"learning rate (default {rates}; a twentieth with adam and adamw)")
    add("--seed", type=int, default=default.seed, help="of the data's partition and the first model")
    add(
        "--profile",
        choices=PROFILES,
        default=default.profile,
        help="strict: nobody answers before a quorum has signed the survivor set, and fewer may die "
        "(default %(default)s)",
    )
    add(
        "--keys",
        choices=KEYS,
        default=default.keys,
        help="of the masks and seals: x25519+mlkem768 also against quantum computers (default %(default)s)",
    )
    add(
        "--update",
        default=default.update,
        metavar="FORM",
        help="what each device sends of its change: dense:BITS, block-score:SHARE:BITS or low-rank:RANK:BITS, such as "
        "low-rank:8:4, a job's own default, which wants more rounds (default here %(default)s)",
    )
    add("--insecure", action="store_true", help="plain MQTT: everybody on the network could read the passwords")
    add("--calm", action="store_true", help="kill no device")
    add("--report", type=Path, default=Path("demo.html"), help="where the report goes (default %(default)s)")
    add("--keep", type=Path, metavar="DIR", help="keep keys, logs and journals in this new folder")


def _usual(name: str) -> str:
    """Return the defaults of one option by scenario, for the help."""
    return ", ".join(f"{scenario} {getattr(usual, name):,}" for scenario, usual in DEFAULTS.items())


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; Ctrl-C and SIGTERM leave no process behind."""
    check_place(arguments.report)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="accord-demo-"))
    usual, moments = DEFAULTS[arguments.scenario], arguments.optimiser in ("adam", "adamw")
    settings = DemoSettings(
        scenario=arguments.scenario,
        devices=usual.devices if arguments.devices is None else arguments.devices,
        rounds=usual.rounds if arguments.rounds is None else arguments.rounds,
        broker=arguments.broker,
        rows=usual.rows if arguments.rows is None else arguments.rows,
        test_rows=usual.test_rows,
        learning_rate=usual.learning_rate / (20 if moments else 1) if arguments.lr is None else arguments.lr,
        momentum=0.0 if moments else DemoSettings.momentum,
        optimiser=arguments.optimiser,
        batch_size=usual.batch_size,
        update=arguments.update,
        profile=arguments.profile,
        keys=arguments.keys,
        seed=arguments.seed,
        chaos=not arguments.calm,
        tls=not arguments.insecure,
        state=folder,
    )
    started = time.perf_counter()
    console = Console(stderr=arguments.json)
    try:
        with LiveTable("accord demo", "classification", console) as table:
            demo = Demo(settings, Audience(say=table.say, add=table.add))
            history = demo.run()
    except KeyboardInterrupt:
        print("stopped; no process is left", file=sys.stderr)
        return 130
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    shown: dict[str, object] = {
        "scenario": settings.scenario,
        "devices": settings.devices,
        "rounds": settings.rounds,
        "broker": settings.broker,
        "rows": settings.rows,
        "update": settings.update,
        "profile": settings.profile,
        "keys": settings.keys,
        "optimiser": settings.optimiser,
        "model": demo.scenario.model,
    }
    _finish(history, arguments, shown, console, time.perf_counter() - started)
    return 0


def _finish(
    history: History, arguments: argparse.Namespace, settings: dict[str, object], console: Console, seconds: float
) -> None:
    write(arguments.report, render(history, title="Accord demo", settings=settings))
    if arguments.json:
        print(json.dumps(history.to_json()))
        return
    for device in history.devices:
        if device.accuracy_before is not None and device.accuracy_after is not None:
            gained = f"{device.accuracy_before:.3f} to {device.accuracy_after:.3f} on its own test rows"
            console.print(f"{device.origin or device.device:32} accuracy {gained}")
    parts = [("fleet, masked, over MQTT", history.final.accuracy)]
    parts += [] if history.exported is None else [("  as the exported int8 model", history.exported.accuracy)]
    parts += [(c.name, c.final.accuracy) for c in (history.fedavg, history.centralized) if c is not None]
    for name, accuracy in parts:
        console.print(f"{name:32} accuracy {accuracy:.3f}")
    console.print(f"model {history.model_digest}\nreport {arguments.report} ({seconds:.0f} s in all)")
