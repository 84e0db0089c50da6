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

from simulation.demo import Demo
from simulation.demo_rounds import Audience
from simulation.demo_settings import DemoSettings
from simulation.history import History
from simulation.live import LiveTable
from simulation.report import check_place, render, write
from simulation.rig import BROKERS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options; the defaults are those of `DemoSettings`."""
    default = DemoSettings()
    parser.epilog = "example: accord demo --devices 6 --rounds 5 --keep demo-state"
    add = parser.add_argument
    add("--devices", type=int, default=default.devices, help="device processes (default %(default)s)")
    add("--rounds", type=int, default=default.rounds, help="training rounds (default %(default)s)")
    add("--broker", choices=BROKERS, default=default.broker, help="which broker to start (default %(default)s)")
    add("--rows", type=int, default=default.rows, help="training rows of Fashion-MNIST (default %(default)s)")
    add("--seed", type=int, default=default.seed, help="of the data's partition and the first model")
    add("--calm", action="store_true", help="kill no device")
    add("--report", type=Path, default=Path("demo.html"), help="where the report goes (default %(default)s)")
    add("--keep", type=Path, metavar="DIR", help="keep keys, logs and journals in this new folder")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; Ctrl-C and SIGTERM leave no process behind."""
    check_place(arguments.report)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="accord-demo-"))
    settings = DemoSettings(
        devices=arguments.devices,
        rounds=arguments.rounds,
        broker=arguments.broker,
        rows=arguments.rows,
        seed=arguments.seed,
        chaos=not arguments.calm,
        state=folder,
    )
    started = time.perf_counter()
    console = Console(stderr=arguments.json)
    try:
        with LiveTable("accord demo", "classification", console) as table:
            history = Demo(settings, Audience(say=table.say, add=table.add)).run()
    except KeyboardInterrupt:
        print("stopped; no process is left", file=sys.stderr)
        return 130
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    _finish(history, arguments, console, time.perf_counter() - started)
    return 0


def _finish(history: History, arguments: argparse.Namespace, console: Console, seconds: float) -> None:
    settings = {
        "devices": arguments.devices,
        "rounds": arguments.rounds,
        "broker": arguments.broker,
        "rows": arguments.rows,
        "model": "cnn:small",
    }
    write(arguments.report, render(history, title="Accord demo", settings=settings))
    if arguments.json:
        print(json.dumps(history.to_json()))
        return
    parts = [("fleet, masked, over MQTT", history.final.accuracy)]
    parts += [(c.name, c.final.accuracy) for c in (history.fedavg, history.centralized) if c is not None]
    for name, accuracy in parts:
        console.print(f"{name:32} accuracy {accuracy:.3f}")
    console.print(f"model {history.model_digest}\nreport {arguments.report} ({seconds:.0f} s in all)")
