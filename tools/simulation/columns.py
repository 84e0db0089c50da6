"""The columns of the table of rounds, as people read it on the terminal and in the report."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from simulation.history import HEADLINES, RoundRow
from simulation.task import Kind

NONE = "–"  # noqa: RUF001 - a dash is what a table shows for nothing
PERCENT = frozenset({"accuracy", "auroc", "auprc"})
NAMES = {"accuracy": "accuracy", "auroc": "AUROC", "auprc": "AUPRC", "mae": "MAE", "r2": "R²", "loss": "loss"}
"""What people call each metric."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its heading, and the text of its cell for a round."""

    heading: str
    cell: Callable[[RoundRow], str]


def columns(kind: Kind) -> tuple[Column, ...]:
    """Return the columns for a task."""
    metric = HEADLINES[kind]
    return (
        Column(heading="round", cell=lambda r: str(r.round)),
        Column(heading="attempt", cell=lambda r: str(r.attempt)),
        Column(heading=NAMES[metric], cell=lambda r: shown(metric, getattr(r.evaluation, metric))),
        Column(heading="loss", cell=lambda r: shown("loss", r.evaluation.loss)),
        Column(heading="in", cell=lambda r: str(r.participants)),
        Column(heading="dropped", cell=lambda r: str(r.dropouts)),
        Column(heading="recovered", cell=lambda r: str(r.recovered)),
        Column(heading="kB up", cell=lambda r: kilobytes(r.bytes_up_per_device)),
        Column(heading="kB down", cell=lambda r: kilobytes(r.bytes_down_per_device)),
        Column(heading="seconds", cell=lambda r: f"{r.seconds:.1f}"),
        Column(heading="aborted attempts", cell=aborts),
    )


def shown(metric: str, value: float | None) -> str:
    """Return a metric for people: shares in percent, other numbers with three digits or more."""
    if value is None:
        return NONE
    if metric in PERCENT:
        return f"{100 * value:.1f} %"
    if metric == "r2":
        return f"{value:.3f}"
    return f"{value:.4g}" if abs(value) >= 10 else f"{value:.3f}"


def kilobytes(count: float) -> str:
    """Return bytes as kB of 1,000 bytes; a dash where nobody measured them."""
    if math.isnan(count):
        return NONE
    return f"{count / 1000:,.1f}"


def aborts(row: RoundRow) -> str:
    """Return the attempts that ended without a sum, by name."""
    return ", ".join(f"{a.attempt}: {a.reason}" for a in row.aborted)
