"""Charts as inline SVG whose colours are CSS variables of the page, so that they follow light and dark."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from accord.errors import UsageError

# matplotlib draws in these colours, which are then replaced by the page's own.
_INK = {"text": "#010101", "grid": "#020202"}
_SERIES = "#0303{:02x}"
WIDTH, HEIGHT = 5.6, 2.9
"""Inches of 72 points; the page scales the picture to its column."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, or one layer of stacked bars.

    Args:
        name: what the legend calls it.
        variable: the CSS variable of its colour, without dashes in front.
        x: positions, such as round numbers.
        y: as many values; None leaves a gap.
        dash: how the line is drawn: "-", "--" or ":".

    Raises:
        UsageError: x and y have different lengths, or the variable is no name.
    """

    name: str
    variable: str
    x: Sequence[float]
    y: Sequence[float | None]
    dash: str = "-"

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or re.fullmatch(r"[a-z-]+", self.variable) is None:
            raise UsageError(f"series {self.name!r} has {len(self.x)} positions for {len(self.y)} values")


def lines(series: Sequence[Series], *, label: str, key: str, percent: bool = False) -> str:
    """Return an SVG of lines over rounds; a series of a single point is drawn as a dot.

    Args:
        series: lines, the most important one last, which lies on top.
        label: what a screen reader says.
        key: a word that makes the ids in this SVG unique on the page.
        percent: whether values are shares to be shown in percent.
    """
    figure, axes = _axes()
    for place, one in enumerate(series):
        values = [float("nan") if v is None else v for v in one.y]
        marker = "o" if len(values) <= 25 else ""
        top = place == len(series) - 1
        axes.plot(
            one.x, values, color=_SERIES.format(place), linestyle=one.dash, marker=marker,
            markersize=3.4 if top else 2.4, linewidth=2.2 if top else 1.6, solid_capstyle="round",
        )  # fmt: skip
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
    return _svg(figure, series, label, key)


def bars(series: Sequence[Series], *, label: str, key: str) -> str:
    """Return an SVG of bars over rounds, the layers stacked in order; see `lines` for the arguments."""
    figure, axes = _axes()
    bottom: dict[float, float] = {}
    for place, one in enumerate(series):
        heights = [v or 0.0 for v in one.y]
        base = [bottom.get(x, 0.0) for x in one.x]
        axes.bar(one.x, heights, bottom=base, color=_SERIES.format(place), width=0.7, linewidth=0)
        bottom.update({x: b + h for x, b, h in zip(one.x, base, heights, strict=True)})
    axes.set_ylim(bottom=0)
    return _svg(figure, series, label, key)


def _axes() -> tuple[Figure, Any]:
    """Return an empty figure with one quiet pair of axes."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.grid(axis="y", color=_INK["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_INK["grid"])
    axes.tick_params(colors=_INK["text"], labelsize=9, length=0, pad=5)
    axes.set_xlabel("round", color=_INK["text"], fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    return figure, axes


def _svg(figure: Figure, series: Sequence[Series], label: str, key: str) -> str:
    """Return the figure as SVG with the page's colours, text as text, and ids of its own."""
    rounds = sorted({x for one in series for x in one.x})
    every = -(-len(rounds) // 12)
    figure.axes[0].set_xticks(rounds[::every] if every else [])
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{key}">', text, count=1
    )
    text = re.sub(r'\bid="', f'id="{key}-', text)
    text = re.sub(r"url\(#", f"url(#{key}-", text)
    text = re.sub(r'xlink:href="#', f'href="#{key}-', text)
    for name, colour in _INK.items():
        text = text.replace(colour, f"var(--{name})")
    for place, one in enumerate(series):
        text = text.replace(_SERIES.format(place), f"var(--{one.variable})")
    return text.replace(f'aria-label="{key}"', f'aria-label="{_escaped(label)}"', 1)


def _escaped(text: str) -> str:
    """Return text for an attribute."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
