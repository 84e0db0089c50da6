"""The command `accord`: one table of commands, and nothing of what they do."""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol, cast

from accord import WIRE_VERSION, __version__
from accord.errors import AccordError, UsageError
from accord.values import dataclass


class CommandModule(Protocol):
    """What a module in the table offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work and return the exit code."""
        ...


@dataclass(frozen=True, kw_only=True)
class Command:
    """One row of the table: where a command lives, what it needs, and what it is for."""

    name: str
    module: str
    extra: str
    sentence: str


DEVICE_LIST = Command(
    name="device list",
    module="aggregator.device_cli",
    extra="aggregator",
    sentence="List the devices as the aggregator knows them: online, last seen, rounds, bytes.",
)
"""The one action of `accord device` that belongs to the aggregator: a device has none of what it needs."""

PLAN_UPDATE = Command(
    name="plan update",
    module="aggregator.update_plan_cli",
    extra="aggregator",
    sentence="Show bytes and seconds of a round for each way to send a change.",
)
"""It knows how an aggregator chooses supports and makes releases."""
ALONE = (DEVICE_LIST, PLAN_UPDATE)

COMMANDS: tuple[Command, ...] = (
    Command(
        name="demo",
        module="simulation.demo_cli",
        extra="simulation",
        sentence="Start a broker, an aggregator and devices on this machine, and train while devices die.",
    ),
    Command(
        name="fleet",
        module="aggregator.fleet_cli",
        extra="aggregator",
        sentence="Make a fleet's keys, documents and device credentials.",
    ),
    Command(
        name="broker",
        module="broker.cli",
        extra="broker",
        sentence="Run the embedded MQTT broker, for development and up to about 500 devices.",
    ),
    Command(
        name="aggregator",
        module="aggregator.cli",
        extra="aggregator",
        sentence="Run the coordinator: rounds over a broker.",
    ),
    Command(
        name="model",
        module="aggregator.model_cli",
        extra="aggregator",
        sentence="Show, check, promote, roll back and export versions of the model.",
    ),
    Command(
        name="up",
        module="aggregator.up_cli",
        extra="aggregator",
        sentence="Start the broker and the aggregator with one configuration.",
    ),
    Command(
        name="job",
        module="aggregator.job_cli",
        extra="aggregator",
        sentence="Start, list, follow, stop and resume an aggregator's jobs.",
    ),
    Command(
        name="round",
        module="aggregator.round_cli",
        extra="aggregator",
        sentence="Show a job's rounds as they ended.",
    ),
    Command(
        name="audit",
        module="aggregator.audit_cli",
        extra="aggregator",
        sentence="Read, verify and prove the audit log.",
    ),
    Command(
        name="device",
        module="edge_sdk.cli",
        extra="onnx",
        sentence="Run a device: it trains on its own rows when a round is open.",
    ),
    Command(
        name="simulate",
        module="simulation.simulate_cli",
        extra="simulation",
        sentence="Train over simulated devices in one process, with the real protocol.",
    ),
    Command(
        name="plan",
        module="accord.plan_cli",
        extra="",
        sentence="Plan the secure sums of a round: graph, thresholds, risks, costs; `plan update`: bytes on a link.",
    ),
    Command(
        name="version",
        module="accord.version_cli",
        extra="",
        sentence="Print the versions of the package, the wire format and Python.",
    ),
    Command(
        name="quantize",
        module="quantize.cli",
        extra="quantize",
        sentence="Turn a model into a training bundle that devices open.",
    ),
)


def _load(command: Command) -> CommandModule:
    try:
        return cast("CommandModule", importlib.import_module(command.module))
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == command.module.split(".")[0]:
            raise
        message = f"`accord {command.name}` needs {error.name}: pip install 'accord-fl[{command.extra}]'"
        raise AccordError(message) from error


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are raised, so that `--json` gets them as JSON like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint with the command that explains the options."""
        raise _CommandLineError(f"{message}; `{self.prog} --help` lists the options")


class _CommandLineError(UsageError):
    """The command line itself can't be read."""


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the chosen command's module is imported, so `accord --help` stays quick."""
    parser = _Parser(
        prog="accord",
        description="Federated learning for fleets of real devices, over MQTT.",
        epilog="`accord COMMAND --help` explains one command.",
    )
    parser.add_argument("--version", action="version", version=f"accord {__version__} (wire {WIRE_VERSION})")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.sentence, description=command.sentence)
        sub.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        if command.name == chosen:
            _load(command).configure(sub)
    return parser


def _run_alone(command: Command, words: list[str]) -> int:
    parser = _Parser(prog=f"accord {command.name}", description=command.sentence)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    module = _load(command)
    module.configure(parser)
    return module.run(parser.parse_args(words))


def _run(words: list[str]) -> int:
    for command in ALONE:
        if words[:2] == command.name.split():
            return _run_alone(command, words[2:])
    names = {command.name: command for command in COMMANDS}
    chosen = next((word for word in words if word in names), None)
    arguments = _parser(chosen).parse_args(words)
    return _load(names[arguments.command]).run(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `accord` with `argv` (default: the process's arguments) and return its exit code.

    The code is 1 after an error, 2 if the command line can't be read, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("accord: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone, such as `head`. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (AccordError, OSError) as error:
        _complain(str(error), getattr(error, "reason", ""), as_json="--json" in words)
        return 2 if isinstance(error, _CommandLineError) else 1
    return code


def _complain(sentence: str, reason: str, *, as_json: bool) -> None:
    """Say what went wrong: as one JSON object on standard output, with its stable name if it has one, or as a line."""
    if as_json:
        print(json.dumps({"error": sentence} | ({"reason": reason} if reason else {})), flush=True)
    else:
        print(f"accord: {sentence}", file=sys.stderr)
