"""Each named refusal has a bad vector, and each bad vector is answered by its name and by nothing else."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import doors
import pytest

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "ForeignDocument": "tests/audit/test_cli.py::test_what_is_proven_is_checked_without_the_log",
    "ForeignRoles": "tests/store/test_detached_promotion.py::test_what_a_publisher_refuses_to_sign",
    "ForeignVersion": "tests/store/test_detached_promotion.py::test_what_a_publisher_refuses_to_sign",
    "NotThePublisher": "tests/store/test_detached_promotion.py::test_another_key_signs_nothing",
    "GoldenMismatch": "tests/runtimes/test_reference.py::test_a_runtime_that_computes_wrongly_may_not_train",
    "TooManyWaiting": "tests/store/test_reception.py::test_requests_are_bounded",
    "TooOften": "tests/store/test_reception.py::test_requests_are_bounded",
    "NoPostQuantum": "tests/fleet/test_hybrid.py::test_a_device_without_ml_kem_refuses_before_it_is_charged",
    "WrongPairSecret": "tests/secagg/test_hybrid.py::test_a_dealer_that_offers_another_secret_is_refused_and_named",
    "NotAMember": "tests/secagg/test_transcript.py::test_the_server_refuses_changed_and_foreign_messages",
}
"""Names that no bytes can bring about at a door, each with the test that does."""

RAISERS = {"Refusal", "Aborted", "Failed", "Refused", "Log", "Recall"}
HANDED_ON = {"reason", "refusal.reason", "abort.reason", "effect.reason"}
"""What stands where a name is expected and was named elsewhere before."""


def cases() -> Iterator[Any]:
    for path in sorted(doors.FOLDER.glob("bad_*.json")):
        for case in json.loads(path.read_text()):
            yield pytest.param(path.stem.removeprefix("bad_"), case, id=f"{path.stem}-{case['about']}")


@pytest.mark.parametrize(("name", "case"), list(cases()))
def test_the_bad_vector_is_refused_by_its_name(name: str, case: dict[str, Any]) -> None:
    assert doors.answer(case) == [name]


def names_of(tree: ast.AST, raisers: set[str]) -> Iterator[tuple[str, ast.expr]]:
    """Yield (function called, expression) wherever a refusal is named."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in raisers:
                named = [word.value for word in node.keywords if word.arg == "reason"] or node.args[:1]
                yield from ((called, expression) for expression in named)


def trees() -> list[ast.Module]:
    return [
        ast.parse(path.read_text())
        for package in ("accord", "edge_sdk", "aggregator")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def handing_on(found: list[ast.Module], raisers: set[str]) -> set[str]:
    """Return the functions that hand the `reason` that their caller gives to one of `raisers`."""
    return {
        function.name
        for tree in found
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and "reason" in [argument.arg for argument in function.args.args]
        for called, expression in names_of(function, raisers)
        if called and isinstance(expression, ast.Name) and expression.id == "reason"
    } - {"__init__"}


def wrappers(found: list[ast.Module]) -> set[str]:
    """Return the functions that raise a refusal whose name their caller gives as `reason`, by way of others as well."""
    raisers = {"Refusal", "Aborted"}
    while more := handing_on(found, raisers) - raisers:
        raisers |= more
    return raisers - {"Refusal", "Aborted"}


def named_in_the_code() -> set[str]:
    found = trees()
    raisers, names = RAISERS | wrappers(found), set()
    for tree in found:
        for _, expression in names_of(tree, raisers):
            if isinstance(expression, ast.Constant):
                names.add(expression.value)
            else:
                assert ast.unparse(expression) in HANDED_ON, (
                    f"{ast.unparse(expression)}: name a refusal where it is made"
                )
    return names


def test_the_code_is_read_right() -> None:
    names = named_in_the_code()
    assert {"_leave", "_unleft", "_refuse"} <= wrappers(trees())
    assert {"RosterChanged", "ExternalData", "TooFewShares", "NoWeight", "BadMessage"} <= names
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in names)


def test_every_refusal_has_a_bad_vector_or_a_test_elsewhere() -> None:
    covered = {path.stem.removeprefix("bad_") for path in doors.FOLDER.glob("bad_*.json")}
    assert not covered & set(ELSEWHERE)
    code = named_in_the_code()
    lacking, stale = code - covered - set(ELSEWHERE), (covered | set(ELSEWHERE)) - code
    assert not lacking, f"tell these lies in tests/vectors/*_lies.py and run generate.py --write: {sorted(lacking)}"
    assert not stale, f"no code refuses by these names any more: {sorted(stale)}"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_test_elsewhere_exists_and_speaks_of_its_refusal(name: str) -> None:
    path, _, function = ELSEWHERE[name].partition("::")
    found = [n for n in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(n, ast.FunctionDef)]
    bodies = [ast.unparse(node) for node in found if node.name == function]
    assert len(bodies) == 1
    assert name in bodies[0]
