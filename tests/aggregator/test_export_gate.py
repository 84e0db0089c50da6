"""A version whose int8 model is too bad, or that nobody has run, is no release."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from accord.plan import Task
from aggregator.export_gate import check_export, export_figures
from aggregator.registry_values import RegistryError

GATED = Task(kind="classification", outputs=3, target_exponent=0, transform="none", gate=5_000)


def entry(task: Task) -> Any:
    return SimpleNamespace(version=SimpleNamespace(version=7, job="j", data=SimpleNamespace(task=task)))


def measured(**values: float) -> Any:
    return SimpleNamespace(values=values)


def test_figures_are_per_row_that_was_run() -> None:
    sums = {"exported_rows": [200.0], "graph_correct": [180.0], "exported_correct": [178.0]}
    assert export_figures(sums) == {
        "exported_accuracy": 0.89,
        "export_gap": pytest.approx(0.01),
        "exported_emulated": 0.0,
    }
    assert export_figures({"exported_rows": [0.0]}) == {}
    assert export_figures({"count": [4.0]}) == {}
    losses = {"exported_rows": [10.0], "emulated_rows": [4.0], "graph_loss": [5.0], "exported_loss": [6.0]}
    assert export_figures(losses) == {"exported_loss": 0.6, "export_gap": pytest.approx(0.1), "exported_emulated": 0.4}


def test_the_newest_measurement_decides() -> None:
    check_export(entry(GATED), [measured(export_gap=0.2), measured(loss=1.0), measured(export_gap=0.004)])
    with pytest.raises(RegistryError, match=r"worse than the one in training by 0\.2000, and its plan allows 0\.0050"):
        check_export(entry(GATED), [measured(export_gap=0.001), measured(export_gap=0.2)])


def test_a_version_that_nobody_ran_waits() -> None:
    with pytest.raises(RegistryError, match="no device has run the int8 model of version 7"):
        check_export(entry(GATED), [measured(loss=1.0)])


def test_without_a_gate_everything_passes() -> None:
    check_export(entry(replace(GATED, gate=0)), [])
