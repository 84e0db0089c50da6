"""A picture of a model as one SVG that needs no library: a row per node, arcs for what skips rows, a band per block."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from quantize.picture import FROZEN, INPUT, PLAIN, TRAINED, Picture, Row

ROW, LANE, MARGIN, TOP = 34, 12, 24, 128
COLOURS = {TRAINED: "#15803d", FROZEN: "#1d4ed8", PLAIN: "#9ca3af", INPUT: "#111827"}
INT8 = "#b45309"
NAME, SHAPE, COUNT, BAND = 290, 150, 96, 200
"""Widths of the columns: operator and name, shape, parameters, block."""
LONGEST = 26
"""Characters of a name that are shown; a longer one is whole in the tooltip."""


def drawing(picture: Picture) -> str:
    """Return the SVG; it grows downwards with the number of nodes."""
    arcs, lanes = _lanes(picture.rows)
    axis = MARGIN + LANE * (lanes + 1) + 8
    text = axis + 18
    width = text + NAME + SHAPE + COUNT + BAND + MARGIN
    height = TOP + ROW * len(picture.rows) + MARGIN
    parts = [*_bands(picture, axis, text, width)]
    for source, place, lane in arcs:
        parts.append(_edge(source, place, lane, axis))
    for place, row in enumerate(picture.rows):
        parts.append(_node(row, place, axis, text))
    if picture.cut:
        y = TOP + ROW * picture.cut
        parts.append(
            f'<line x1="{MARGIN}" y1="{y}" x2="{width - MARGIN}" y2="{y}" class="cut"/>'
            f'<text x="{width - MARGIN}" y="{y - 5}" class="cutname">cut: frozen above, trained below, at '
            f"{escape(_short(picture.cut_tensor))}</text>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(picture.title)}">\n'
        "<style>text{font-family:system-ui,sans-serif}.title{font-size:16px;font-weight:600;fill:#111827}"
        ".name{font-size:13px;font-weight:600;fill:#111827}.detail{font-size:12px;fill:#4b5563}"
        ".head{font-size:11px;fill:#6b7280}.right{text-anchor:end}.line{fill:none;stroke:#6b7280;stroke-width:1.5}"
        f".cut{{stroke:#b91c1c;stroke-width:1.5;stroke-dasharray:6 4}}.cutname{{font-size:11px;fill:#b91c1c;"
        f"text-anchor:end}}.int8{{font-size:10px;font-weight:600;fill:{INT8}}}</style>\n"
        '<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join([*_legend(picture, text), *parts])
        + "\n</svg>\n"
    )


def page(picture: Picture) -> str:
    """Return the same picture as an HTML page."""
    title = escape(picture.title)
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n{drawing(picture)}</html>\n'


def _y(place: int) -> int:
    return TOP + ROW * place + ROW // 2


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"


def _lanes(rows: Sequence[Row]) -> tuple[list[tuple[int, int, int]], int]:
    """Return (from, to, lane) of each edge, lane 0 for those between neighbours, and the number of other lanes.

    An arc gets the lane nearest to the axis that no arc over the same rows has; short ones choose first.
    """
    edges = [(source, place) for place, row in enumerate(rows) for source in row.sources]
    found = [(source, place, 0) for source, place in edges if place - source == 1]
    taken: list[list[tuple[int, int]]] = []
    for source, place in sorted((e for e in edges if e[1] - e[0] > 1), key=lambda edge: edge[1] - edge[0]):
        free = (n for n, arcs in enumerate(taken) if all(place <= a or b <= source for a, b in arcs))
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((source, place))
        found.append((source, place, lane + 1))
    return found, len(taken)


def _edge(source: int, place: int, lane: int, axis: int) -> str:
    start, end = _y(source), _y(place)
    if not lane:
        return f'<path d="M{axis} {start} L{axis} {end}" class="line"/>'
    x = axis - 8 - LANE * lane
    return (
        f'<path d="M{axis} {start} C{x} {start} {x} {start + 8} {x} {start + 20} L{x} {end - 20} '
        f'C{x} {end - 8} {x} {end} {axis} {end}" class="line"/>'
    )


def _node(row: Row, place: int, axis: int, text: int) -> str:
    y, colour = _y(place), COLOURS[row.role]
    fill = "#ffffff" if row.role == PLAIN else colour
    name = f'<tspan dx="8" class="detail" font-weight="400">{escape(_short(row.name))}</tspan>'
    parts = [
        f"<g><title>{escape(f'{row.operator} {row.name}: {row.shape}')}</title>",
        f'<circle cx="{axis}" cy="{y}" r="6" fill="{fill}" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{text}" y="{y + 4}" class="name">{escape(row.operator)}{name}</text>',
        f'<text x="{text + NAME}" y="{y + 4}" class="detail">{escape(row.shape)}</text>',
    ]
    if row.int8:
        parts.append(f'<text x="{text + NAME - 8}" y="{y + 4}" class="int8 right">int8</text>')
    if row.weights:
        right = text + NAME + SHAPE + COUNT - 16
        parts.append(f'<text x="{right}" y="{y + 4}" class="detail right" style="fill:{colour}">{row.weights:,}</text>')
    return "".join([*parts, "</g>"])


def _bands(picture: Picture, axis: int, text: int, width: int) -> list[str]:
    parts = []
    for band in picture.bands:
        top, size = TOP + ROW * band.first + 2, ROW * (band.last - band.first + 1) - 4
        role = TRAINED if band.trained else FROZEN
        tint = "#f0fdf4" if band.trained else "#eff6ff"
        parts.append(
            f'<rect x="{axis - 10}" y="{top}" width="{width - MARGIN - axis + 10}" height="{size}" rx="6" '
            f'fill="{tint}"/><text x="{text + NAME + SHAPE + COUNT + 4}" y="{top + 19}" class="name" '
            f'style="fill:{COLOURS[role]}">{escape(_short(band.name))}</text>'
        )
    return parts


def _legend(picture: Picture, text: int) -> list[str]:
    frozen = "weights frozen" if picture.cut else "weights frozen (none here)"
    keys = [("weights trained", TRAINED), (frozen, FROZEN), ("no weights", PLAIN), ("input", INPUT)]
    parts = [f'<text x="{MARGIN}" y="36" class="title">{escape(picture.title)}</text>']
    x = MARGIN + 6
    for words, role in keys:
        fill = "#ffffff" if role == PLAIN else COLOURS[role]
        parts.append(
            f'<circle cx="{x}" cy="62" r="6" fill="{fill}" stroke="{COLOURS[role]}" stroke-width="2"/>'
            f'<text x="{x + 13}" y="66" class="detail">{words}</text>'
        )
        x += 40 + 7 * len(words)
    parts.append(
        f'<text x="{MARGIN}" y="90" class="detail"><tspan class="int8">int8</tspan> this output is rounded to int8; '
        "lines beside the axis skip nodes; N is the batch; a block is named by the tier that trains from it on</text>"
    )
    heads = (
        (text, "operator, node", ""),
        (text + NAME, "output", ""),
        (text + NAME + SHAPE + COUNT - 16, "parameters", " right"),
        (text + NAME + SHAPE + COUNT + 4, "block", ""),
    )
    return [*parts, *(f'<text x="{x}" y="{TOP - 8}" class="head{right}">{words}</text>' for x, words, right in heads)]
