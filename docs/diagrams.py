"""Draws the state machines in docs/diagrams.md from the tables that the code and its tests follow. Holds no table.

`python -m docs.diagrams --write`, in the folder above, writes the page; without the option it is printed.
"""  # noqa: INP001 - a script beside the page that it writes

import argparse
import inspect
import sys
import typing
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from types import ModuleType

from accord.secagg import answering, client, confirming, server, unmasked
from aggregator import round as cohort_round
from edge_sdk import session_values
from tests.aggregator import test_coordinator
from tests.aggregator.job_scene import STAGES

HERE = Path(__file__).resolve().parent
Arrow = tuple[str, str, str]
"""From a stage, to a stage, on an event; "" is the end."""

TITLE = """# State machines

Drawn by `python -m docs.diagrams --write` from the tables in the code; a test holds that page and tables are equal.
What is not drawn is refused by name and changes nothing: the tables of refusals are in
`tests/edge_sdk/test_session.py`, `tests/aggregator/test_round.py`, `tests/aggregator/test_coordinator.py` and
`tests/secagg/test_stages.py`.
"""


def of_table(table: typing.Mapping[typing.Any, typing.Mapping[str, Enum]]) -> list[Arrow]:
    """Return the arrows of a transition table whose keys are members of an enum."""
    return [(stage.value, following.value, event) for stage, row in table.items() for event, following in row.items()]


def of_stages(*modules: ModuleType) -> list[Arrow]:
    """Return the arrows of stage classes: a method that returns another stage leads to it, the last one to the end.

    A stage that has no such method is left by the method that gives what the whole machine is for.
    """
    arrows: list[Arrow] = []
    stages = {
        name: found
        for module in modules
        for name, found in vars(module).items()
        if inspect.isclass(found) and found.__module__ == module.__name__ and not name.startswith("_")
    }
    for name, stage in stages.items():
        for method, function in vars(stage).items():
            if method.startswith("_") or not inspect.isfunction(function) or method == "add":
                continue
            result = typing.get_type_hints(function)["return"]
            following = [part.__name__ for part in _parts(result) if part in stages.values()]
            arrows.append((name, following[0] if following else "", method))
    return arrows


def of_rows(table: str, stages: Iterable[str]) -> list[Arrow]:
    """Return the arrows of a table of the tests: the cells that name another stage."""
    names = set(stages)
    return [
        (stage, cell, event.replace("-", " "))
        for event, row in test_coordinator.rows(table).items()
        for stage, cell in row.items()
        if cell in names and cell != stage
    ]


def _parts(hint: typing.Any) -> tuple[typing.Any, ...]:
    return typing.get_args(hint) or (hint,)


def drawn(title: str, sentence: str, arrows: list[Arrow], start: str) -> str:
    """Return one section of the page: arrows between the same two stages share one line."""
    lines = [f"## {title}", "", sentence, "", "```mermaid", "stateDiagram-v2"]
    names = dict.fromkeys(name for arrow in arrows for name in arrow[:2] if "-" in name)
    lines += [f'    state "{name}" as {_id(name)}' for name in names]
    lines.append(f"    [*] --> {_id(start)}")
    merged: dict[tuple[str, str], list[str]] = {}
    for origin, target, event in arrows:
        merged.setdefault((origin, target), []).append(event)
    lines += [f"    {_id(a)} --> {_id(b)}: {', '.join(events)}" for (a, b), events in merged.items()]
    left = {origin for origin, _, _ in arrows}
    ends = dict.fromkeys(target for _, target, _ in arrows if target and target not in left)
    lines += [f"    {_id(end)} --> [*]" for end in ends]
    return "\n".join([*lines, "```", ""])


def _id(name: str) -> str:
    return name.replace("-", "_") or "[*]"


def page() -> str:
    """Return the whole page."""
    sections = [
        drawn(
            "A device in an attempt",
            "`edge_sdk/session_values.py`, TRANSITIONS. Profile `off` goes from *joined* to *working* at once, and\n"
            "only profile `strict` passes *confirmed*.",
            of_table(session_values.TRANSITIONS),
            "idle",
        ),
        drawn(
            "A cohort's round",
            "`aggregator/round.py`, TRANSITIONS. A phase closes when every expected device has answered or is gone\n"
            "for longer than the grace, or at its deadline. Profile `off` begins at *collecting*, and only profile\n"
            "`strict` passes *confirming*.",
            of_table(cohort_round.TRANSITIONS),
            "sharing",
        ),
        drawn(
            "An attempt with one cohort, as its last device sees it",
            "`tests/aggregator/test_coordinator.py`, profile `standard`: all others have answered, three are enough.",
            of_rows(test_coordinator.STANDARD, STAGES),
            "idle",
        ),
        drawn(
            "The secure sum, device",
            "`accord/secagg/client.py` and `answering.py`: each stage is used once; the method that leaves it stands\n"
            "at the arrow. Profile `strict` goes by way of *Confirmed*.",
            of_stages(client, answering),
            "Joining",
        ),
        drawn("The secure sum, aggregator", "`accord/secagg/server.py`.", of_stages(server), "Sharing"),
        drawn(
            "The quorum of profile `strict`, aggregator",
            "`accord/secagg/confirming.py`: it stands before *Unmasking*, which it gives once a quorum has signed.",
            [arrow for arrow in of_stages(server, confirming) if arrow[0] == "Confirming"],
            "Confirming",
        ),
        drawn("The sum in profile `off`", "`accord/secagg/unmasked.py`.", of_stages(unmasked), "Collecting"),
    ]
    return "\n".join([TITLE, *sections])


def main() -> None:
    """Write or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/diagrams.md")
    if parser.parse_args().write:
        (HERE / "diagrams.md").write_text(page())
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
