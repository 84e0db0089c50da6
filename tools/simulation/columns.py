"""The columns of the table of rounds, as people read it on the terminal and in the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulation.history import HEADLINES, RoundRow
from simulation.task import Kind

NONE = "–"  # noqa: RUF001 - a dash is what a table shows for nothing
PERCENT = frozenset({"accuracy", "auroc", "auprc"})
NAMES = {"accuracy": "accuracy", "auroc": "AUROC", "auprc": "AUPRC", "mae": "MAE", "r2": "R²", "loss": "loss"}
"""What people call each metric."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its heading, and the text of its cell for a round.

    The higher its `rank`, the sooner it is left out where there is little room; 0 always stays. A `quiet` column is
    left out as long as all its cells say the same as this text.
    """

    heading: str
    cell: Callable[[RoundRow], str]
    rank: int = 0
    quiet: str | None = None


def columns(kind: Kind) -> tuple[Column, ...]:
    """Return the columns for a task."""
    metric = HEADLINES[kind]
    return (
        Column(heading="round", cell=lambda r: str(r.round)),
        Column(heading="attempt", cell=lambda r: str(r.attempt), rank=5, quiet="1"),
        Column(heading=NAMES[metric], cell=lambda r: shown(metric, getattr(r.evaluation, metric))),
        Column(heading="loss", cell=lambda r: shown("loss", r.evaluation.loss), rank=1),
        Column(heading="in", cell=lambda r: str(r.participants)),
        Column(heading="dropped", cell=lambda r: str(r.dropouts)),
        Column(heading="recovered", cell=lambda r: str(r.recovered), rank=2),
        Column(heading="kB up", cell=lambda r: kilobytes(r.bytes_up_per_device, at_least=r.bytes_at_least), rank=3),
        Column(heading="kB down", cell=lambda r: kilobytes(r.bytes_down_per_device, at_least=r.bytes_at_least), rank=4),
        Column(heading="control up", cell=lambda r: kilobytes(r.control_bytes_up), rank=8),
        Column(heading="control down", cell=lambda r: kilobytes(r.control_bytes_down), rank=9),
        Column(heading="seconds", cell=lambda r: f"{r.seconds:.1f}", rank=6),
        Column(heading="aborted attempts", cell=aborts, rank=7, quiet=""),
    )


def fitting(shape: Sequence[Column], rows: Sequence[RoundRow], width: int) -> list[Column]:
    """Return the columns that have something to say about `rows` and fit side by side into `width` characters."""
    kept = [c for c in shape if c.quiet is None or any(c.cell(row) != c.quiet for row in rows)]

    def needed() -> int:
        return 1 + sum(3 + max([len(c.heading), *(len(c.cell(row)) for row in rows)]) for c in kept)

    while needed() > width and (least := max(kept, key=lambda c: c.rank)).rank:
        kept.remove(least)
    return kept


def shown(metric: str, value: float | None) -> str:
    """Return a metric for people: shares in percent, other numbers with three digits or more."""
    if value is None:
        return NONE
    if metric in PERCENT:
        return f"{100 * value:.1f} %"
    if metric == "r2":
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"
    if 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    return f"{value:.4g}" if abs(value) >= 10 else f"{value:.3f}"


def kilobytes(count: float, *, at_least: bool = False) -> str:
    """Return bytes as kB of 1,000 bytes, with a sign where some of them were not measured."""
    return f"{'≥ ' * at_least}{count / 1000:,.1f}"


def aborts(row: RoundRow) -> str:
    """Return the attempts that ended without a sum, by name."""
    return ", ".join(f"{a.attempt}: {a.reason}" for a in row.aborted)
