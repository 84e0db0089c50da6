"""`accord version`: what is installed here."""

import argparse
import json
import platform

from accord import WIRE_VERSION, __version__


def configure(parser: argparse.ArgumentParser) -> None:
    """Add an example alone: the command has no arguments of its own."""
    parser.epilog = "example: accord version --json"


def run(arguments: argparse.Namespace) -> int:
    """Print the versions and return 0."""
    facts = {"accord": __version__, "wire": WIRE_VERSION, "python": platform.python_version()}
    if arguments.json:
        print(json.dumps(facts))
    else:
        print("  ".join(f"{name} {value}" for name, value in facts.items()))
    return 0
