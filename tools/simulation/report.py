"""A run as one HTML page that loads nothing: curves, rounds, devices and the comparison in the end."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from accord.errors import UsageError
from accord.files import write_atomic
from simulation.charts import Series, bars, lines
from simulation.columns import NAMES, NONE, PERCENT, columns, kilobytes, shown
from simulation.history import History

TEMPLATE = "report.html.jinja"
FINAL: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "loss", "auroc", "auprc"),
    "binary": ("auroc", "auprc", "accuracy", "loss"),
    "regression": ("mae", "r2", "loss"),
}
"""The metrics of the last table, by task."""

_READABLE = 0o644
_STYLES = {"-": "solid", "--": "dashed", ":": "dotted"}


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A number that is read first."""

    what: str
    value: str
    more: str
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class _Key:
    """One entry of a legend."""

    name: str
    variable: str
    style: str


@dataclass(frozen=True, kw_only=True)
class _Chart:
    """A figure with its legend."""

    title: str
    series: tuple[_Key, ...]
    svg: Markup
    stacked: bool


def render(history: History, *, title: str, settings: Mapping[str, object], lead: str = "") -> str:
    """Return the page.

    Args:
        history: the run; without rounds the curves are empty.
        title: its heading.
        settings: names and values, shown in this order.
        lead: a sentence below the heading: what ran where. Empty says what the history knows.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    template = environment.from_string((files("simulation") / TEMPLATE).read_text(encoding="utf-8"))
    kind = history.kind
    shape = columns(kind)[:-1]
    return template.render(
        title=title,
        lead=lead or _lead(history),
        notes=history.notes,
        tiles=_tiles(history),
        charts=list(_charts(history)),
        final_heads=[NAMES[m] for m in FINAL[kind]] + ["seconds"],
        finals=_finals(history),
        heads=[c.heading for c in columns(kind)],
        rounds=[
            {"cells": [c.cell(r) for c in shape], "gave_sum": r.gave_sum, "aborted": r.aborted} for r in history.rounds
        ],
        devices=history.devices,
        settings=[(name, str(value)) for name, value in settings.items()],
        digest=history.model_digest,
    )


def check_place(path: Path) -> None:
    """Refuse a place where a report could not be written, before the work whose report it is.

    Raises:
        UsageError: the folder is missing or may not be written to, or the path is itself a folder.
    """
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"--report {path} is a folder: name a file in it, such as {path / 'report.html'}")
    if not folder.is_dir():
        raise UsageError(f"--report {path}: there is no folder {folder}: make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--report {path}: this user may not write to {folder}: choose another place")


def write(path: Path, page: str) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: the disk is full, read-only or not ours.
    """
    write_atomic(path, page.encode(), _READABLE)


def _lead(history: History) -> str:
    """Return what the history says in one sentence."""
    return (
        f"{len(history.devices)} devices trained one model in {len(history.rounds)} rounds. The aggregator saw sums "
        "over devices only; the curves come from the devices' own test rows, the comparison from all of them pooled."
    )


def _tiles(history: History) -> list[_Tile]:
    """Return the numbers that are read first."""
    name = history.headline
    final = getattr(history.final, name)
    tiles = [_Tile(what=f"final {NAMES[name]}", value=shown(name, final), more=f"{history.final.rows:,} test rows")]
    unit = "points" if name in PERCENT else ""
    for label, curve in (("FedAvg", history.fedavg), ("centralized", history.centralized)):
        if curve is not None:
            other = getattr(curve.final, name)
            more = f"it reached {shown(name, other)}"
            tiles.append(_Tile(what=f"against {label}", value=_gap(name, final, other), unit=unit, more=more))
    rounds = history.rounds
    if rounds:
        measured = [r for r in rounds if not r.bytes_at_least] or rounds
        up, down, control_up, control_down = (
            sum(getattr(r, name) for r in measured) / len(measured)
            for name in ("bytes_up_per_device", "bytes_down_per_device", "control_bytes_up", "control_bytes_down")
        )
        dropped, recovered = sum(r.dropouts for r in rounds), sum(r.recovered for r in rounds)
        aborted = sum(len(r.aborted) for r in rounds)
        tiles += [
            _Tile(
                what="kB up per device", value=kilobytes(up), more=f"in a round, {kilobytes(control_up)} of it control"
            ),
            _Tile(what="kB down", value=kilobytes(down), more=f"in a round, {kilobytes(control_down)} of it control"),
            _Tile(
                what="devices dropped",
                value=str(dropped),
                more=f"{recovered} recovered; {aborted} {'attempt' if aborted == 1 else 'attempts'} aborted",
            ),
        ]
    return tiles


def _gap(name: str, ours: float | None, theirs: float | None) -> str:
    """Return how far apart two values are: in percentage points for shares."""
    if ours is None or theirs is None:
        return NONE
    gap = f"{100 * (ours - theirs):+.1f}" if name in PERCENT else f"{ours - theirs:+.3g}"
    return gap.replace("-", "−")  # noqa: RUF001 - a true minus sign


def _charts(history: History) -> Iterable[_Chart]:
    """Yield the figures."""
    numbers = [r.round for r in history.rounds]
    for metric in (history.headline, "loss"):
        series = [
            Series(
                name=label,
                variable=variable,
                x=[p.round for p in curve.points],
                y=[getattr(p.evaluation, metric) for p in curve.points],
                dash=dash,
            )
            for label, variable, curve, dash in (
                ("centralized", "centralized", history.centralized, ":"),
                ("FedAvg", "fedavg", history.fedavg, "--"),
            )
            if curve is not None
        ]
        series.append(Series(name="Accord", variable="accord", x=numbers, y=history.values(metric)))
        title = NAMES[metric][0].upper() + NAMES[metric][1:] + " per round"
        yield _figure(title, series, lines(series, label=title, key=metric, percent=metric in PERCENT))
    rounds = history.rounds
    present = [
        Series(name="in", variable="in", x=numbers, y=[r.participants for r in rounds]),
        Series(name="recovered", variable="recovered", x=numbers, y=[r.recovered for r in rounds]),
        Series(name="lost", variable="dropped", x=numbers, y=[r.dropouts - r.recovered for r in rounds]),
    ]
    yield _figure("Devices per round", present, bars(present, label="Devices per round", key="devices"), stacked=True)
    up = [
        Series(name="update", variable="payload", x=numbers, y=[r.payload_bytes_up / 1000 for r in rounds]),
        Series(name="control", variable="control", x=numbers, y=[r.control_bytes_up / 1000 for r in rounds]),
    ]
    yield _figure("kB up per device", up, bars(up, label="kB up per device and round", key="up"), stacked=True)


def _figure(title: str, series: Iterable[Series], svg: str, *, stacked: bool = False) -> _Chart:
    """Return a figure; the legend names the line on top first."""
    keys = [_Key(name=s.name, variable=s.variable, style=_STYLES[s.dash]) for s in series]
    return _Chart(
        title=title,
        series=tuple(keys if stacked else reversed(keys)),
        svg=Markup(svg),  # noqa: S704 - made by `charts` from numbers; its one text is escaped there
        stacked=stacked,
    )


def _finals(history: History) -> list[dict[str, object]]:
    """Return the rows of the comparison in the end."""
    rows = [("Accord", history.final, sum(r.seconds for r in history.rounds))]
    rows += [] if history.exported is None else [("Accord, exported int8 model", history.exported, 0.0)]
    rows += [(c.name, c.final, c.seconds) for c in (history.fedavg, history.centralized) if c is not None]
    return [
        {"name": name, "cells": [*(shown(m, getattr(reached, m)) for m in FINAL[history.kind]), f"{seconds:.1f}"]}
        for name, reached, seconds in rows
    ]
