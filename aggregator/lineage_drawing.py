"""A lineage as one SVG picture that needs no library: a row per version, a lane per branch, an arc per rollback."""

from xml.sax.saxutils import escape

from aggregator.lineage import Lineage, made_by
from aggregator.registry_values import Registered

ROW, LANE, MARGIN = 44, 28, 24
WIDTH = 640  # of the text beside the lanes
COLOURS = {"candidate": "#6b7280", "staging": "#b45309", "production": "#15803d", "archived": "#9ca3af"}
WRONG = "#b91c1c"  # a stage that is none: somebody has written to the database


def drawing(lineage: Lineage) -> str:
    """Return the SVG: oldest version on top, the one asked for with a ring around it, colours by stage."""
    entries = lineage.every
    rows = {entry.digest: place for place, entry in enumerate(entries)}
    lanes = _lanes(entries)
    left = MARGIN + LANE * (max(lanes.values()) + 1) + 12
    parts = []
    for entry in entries:
        x, y = _place(entry, rows, lanes)
        parent = next((e for e in entries if e.digest == entry.version.parent), None)
        if parent is not None:
            above = _place(parent, rows, lanes)
            parts.append(
                f'<path d="M{above[0]} {above[1]} C{above[0]} {y - 14} {x} {y - ROW + 14} {x} {y}" class="line"/>'
            )
        old = next((e for e in entries if e.digest == entry.version.restored), None)
        if old is not None:
            there = _place(old, rows, lanes)
            bend = MARGIN - 22
            parts.append(f'<path d="M{x} {y} C{bend} {y} {bend} {there[1]} {there[0]} {there[1]}" class="back"/>')
    for entry in entries:
        x, y = _place(entry, rows, lanes)
        colour = COLOURS.get(entry.stage, WRONG)
        if entry.digest == lineage.entry.digest:
            parts.append(f'<circle cx="{x}" cy="{y}" r="12" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<circle cx="{x}" cy="{y}" r="7" fill="{colour}"/>')
        title, detail = _words(entry)
        parts.append(
            f'<text x="{left}" y="{y - 2}" class="name">{escape(title)}'
            f'<tspan dx="10" fill="{colour}">{escape(entry.stage)}</tspan></text>'
        )
        parts.append(f'<text x="{left}" y="{y + 14}" class="detail">{escape(detail)}</text>')
    height = 2 * MARGIN + ROW * (len(entries) - 1) + 12
    width = left + WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Lineage of {escape(_words(lineage.entry)[0])}">\n'
        "<style>text{font-family:system-ui,sans-serif}.name{font-size:14px;font-weight:600;fill:#111827}"
        ".detail{font-size:12px;fill:#4b5563}.line{fill:none;stroke:#9ca3af;stroke-width:2}"
        ".back{fill:none;stroke:#b45309;stroke-width:1.5;stroke-dasharray:4 3}</style>\n"
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _place(entry: Registered, rows: dict[bytes, int], lanes: dict[bytes, int]) -> tuple[int, int]:
    return MARGIN + LANE * lanes[entry.digest], MARGIN + ROW * rows[entry.digest]


def _lanes(entries: tuple[Registered, ...]) -> dict[bytes, int]:
    """Give one child of each version its parent's lane, of the same job if there is one, and the others a new lane."""
    heirs: dict[bytes, Registered] = {}
    jobs = {entry.digest: entry.version.job for entry in entries}
    for entry in entries:
        parent, job = entry.version.parent, entry.version.job
        if parent not in heirs or (job == jobs.get(parent) and heirs[parent].version.job != job):
            heirs[parent] = entry
    lanes: dict[bytes, int] = {}
    for entry in entries:
        parent = entry.version.parent
        follows = parent in lanes and heirs[parent] is entry
        lanes[entry.digest] = lanes[parent] if follows else max(lanes.values(), default=-1) + 1
    return lanes


def _words(entry: Registered) -> tuple[str, str]:
    version = entry.version
    plan = f", plan {version.plan.hex()[:12]}" if version.plan else ""
    return (
        f"{version.job} v{version.version}",
        f"{made_by(entry)}{plan}; digest {entry.digest.hex()[:12]}; Accord {version.code}",
    )
