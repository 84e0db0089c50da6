"""`accord simulate`: options in, a live table or one JSON object out."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from accord.optimisers import SCHEDULES
from accord.plan import KEYS, OPTIMISERS
from accord.secagg.planner import AUTO, MERGES, PROFILES
from aggregator.update_choice import FEEDBACKS
from simulation import datasets
from simulation.columns import NAMES, PERCENT
from simulation.history import History, RoundRow
from simulation.in_process import simulate
from simulation.live import LiveTable
from simulation.report import check_place, render, write
from simulation.settings import TIERS, TRANSFORMS, SimulationSettings
from simulation.task import KINDS

DATA_HELP = """digits, breast-cancer, fashion-mnist, or a file FILE.npz with the arrays x_train, y_train, c_train,
x_test, y_test, c_test: x is N x features, N x steps x features or N x channels x height x width of numbers, y the
labels or targets, c the device of each row (leave both c_ arrays out to have the rows dealt by --partition)"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options; the defaults are those of `SimulationSettings`."""
    default = SimulationSettings(data="")
    parser.epilog = "example: accord simulate --data digits --partition dirichlet:0.3 --model mlp:32 --rounds 30"
    add = parser.add_argument
    add("--data", required=True, help=DATA_HELP)
    add("--devices", type=int, default=default.devices, help="devices to deal the rows to (default %(default)s)")
    add("--partition", default=default.partition, help="iid, dirichlet:ALPHA or labels:K (default %(default)s)")
    add(
        "--model",
        default=default.model,
        help="linear or mlp:64,32 for any rows, cnn:small or cnn:medium for images from 8 x 8, mobilenet:25 for "
        "images from 32 x 32, "
        "gru:64 for rows of steps x features, an .onnx file or a bundle (default %(default)s)",
    )
    add(
        "--tier",
        choices=TIERS,
        default=default.tier,
        help="float; last-all: train against int8 rounding; int8: with int8 weights; a bundle has its own (default "
        "%(default)s)",
    )
    add(
        "--runtimes",
        default=default.runtimes,
        metavar="NAME,...",
        help="what trains: auto, reference, onnx, litert or tflite; of several, devices take one each in turn",
    )
    add("--task", choices=KINDS, help="what to predict; inferred from y if not given, and said")
    add("--target-transform", choices=TRANSFORMS, default="none", help="of regression targets (default %(default)s)")
    add("--rounds", type=int, default=default.rounds, help="training rounds (default %(default)s)")
    add("--devices-per-round", type=int, default=default.devices_per_round, help="default %(default)s")
    add(
        "--max-participations",
        type=int,
        default=default.max_participations,
        metavar="N",
        help="training rounds that a device is asked to at most; 0: any number (default %(default)s)",
    )
    add("--cohorts", type=int, default=default.cohorts, help="secure sums per round (default %(default)s)")
    add("--merge", choices=MERGES, default=default.merge, help="of the cohorts' changes (default %(default)s)")
    add(
        "--release-bits",
        type=int,
        default=default.release_bits,
        metavar="N",
        help="of one value of a release's change; what rounding leaves goes into the next (default %(default)s)",
    )
    add("--local-epochs", type=int, default=default.local_epochs, help="passes per round (default %(default)s)")
    add("--batch-size", type=int, default=default.batch_size, help="rows per step (default %(default)s)")
    add("--lr", type=float, default=default.lr, help="learning rate on the devices (default %(default)s)")
    add("--momentum", type=float, default=default.momentum, help="of sgd and nesterov (default %(default)s)")
    add("--proximal-mu", type=float, default=default.proximal_mu, help="FedProx's mu (default %(default)s)")
    _configure_optimiser(parser, default)
    add("--dropout", type=float, default=default.dropout, help="chance that a device dies in a round, at any stage")
    add("--secure-aggregation", choices=("on", "off"), default="on", help="masks on or off (default %(default)s)")
    add(
        "--profile",
        choices=(AUTO, *PROFILES),
        default=default.profile,
        help="strict: nobody answers before a quorum has signed the survivor set; auto: strict where --dropout "
        "allows it (default %(default)s, which is faster)",
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
        help="what each device sends of its change: dense:BITS, every parameter; block-score:SHARE:BITS, the blocks of "
        "64 that the sums say matter most; low-rank:RANK:BITS, each matrix in a basis of RANK vectors that follows the "
        "sums; with --secure-aggregation off also topk:SHARE:BITS, the largest values of each device, in 8, 4 or 1 "
        "bits, and ternary:SHARE, their signs; all but dense send later what they leave out (default %(default)s)",
    )
    add(
        "--feedback",
        choices=FEEDBACKS,
        default=default.feedback,
        help="whether devices send later what an update leaves out; auto: where they take part often enough (default "
        "%(default)s)",
    )
    add("--seed", type=int, default=default.seed, help="the same seed gives the same model (default %(default)s)")
    add("--report", type=Path, metavar="FILE.html", help="also write a self-contained report with the curves")


def _configure_optimiser(parser: argparse.ArgumentParser, default: SimulationSettings) -> None:
    add = parser.add_argument
    add("--optimiser", choices=OPTIMISERS, default=default.optimiser, help="of the devices (default %(default)s)")
    add("--beta1", type=float, default=default.beta1, help="of adam and adamw (default %(default)s)")
    add("--beta2", type=float, default=default.beta2, help="of adam and adamw (default %(default)s)")
    add("--epsilon", type=float, default=default.epsilon, help="of adam and adamw (default %(default)s)")
    add(
        "--weight-decay",
        type=float,
        default=default.weight_decay,
        help="of an L2 penalty; with adamw decoupled from the moments (default %(default)s)",
    )
    add(
        "--clip-norm",
        type=float,
        default=default.clip_norm,
        help="the largest norm that a gradient keeps; 0 clips none (default %(default)s)",
    )
    add(
        "--warmup-steps",
        type=int,
        default=default.warmup_steps,
        help="steps of each round in which the learning rate grows to the whole (default %(default)s)",
    )
    add(
        "--schedule",
        choices=SCHEDULES,
        default=default.schedule,
        help="of the learning rate over the rounds (default %(default)s)",
    )
    add("--decay-every", type=int, default=default.decay_every, help="rounds, of step (default %(default)s)")
    add(
        "--decay-factor",
        type=float,
        default=default.decay_factor,
        help="what a step leaves of it (default %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Simulate, print, and return 0."""
    options = {
        name: value for name, value in vars(arguments).items() if name not in ("command", "json", "data", "report")
    }
    if arguments.report is not None:
        check_place(arguments.report)
    history = _json(arguments, options) if arguments.json else _table(arguments, options)
    if arguments.report is not None:
        settings = {name.replace("_", "-"): str(value) for name, value in options.items()}
        settings["task"] = history.kind
        page = render(history, title=f"Simulation on {arguments.data}", settings={"data": arguments.data, **settings})
        write(arguments.report, page)
    return 0


def _json(arguments: argparse.Namespace, options: dict[str, Any]) -> History:
    """Print one JSON object; progress goes to the standard error where that is a terminal."""
    terminal = sys.stderr.isatty()

    def told(row: RoundRow) -> None:
        if terminal:
            print(f"\rround {row.round} of {options['rounds']}", end="", file=sys.stderr, flush=True)

    def said(sentence: str) -> None:
        if terminal:
            print(f"\r{sentence}", file=sys.stderr, flush=True)

    history = simulate(arguments.data, told=told, said=said, **options)
    if terminal:
        print(file=sys.stderr)
    print(json.dumps(history.to_json()))
    return history


def _table(arguments: argparse.Namespace, options: dict[str, Any]) -> History:
    console = Console()
    dataset = datasets.load(arguments.data)
    task = dataset.task(arguments.task)
    with LiveTable(f"accord simulate: {arguments.data}", task.kind, console) as table:
        history = simulate(dataset, told=table.add, said=table.say, **options)
    parts = [
        f"{NAMES[name]} {_number(name, value)}" for name, value in history.final.to_json().items() if value is not None
    ]
    for line in (f"final, on all test rows: {', '.join(parts)}", f"model {history.model_digest}"):
        console.print(Text(line), soft_wrap=True)
    if arguments.report is not None:
        console.print(Text(f"report {arguments.report}"), soft_wrap=True)
    return history


def _number(name: str, value: float) -> str:
    """Return a metric with four decimals, or four digits where it is large or small."""
    return f"{value:.4f}" if name in PERCENT or value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.4g}"
