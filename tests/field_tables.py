"""The tables of fields in docs/protocol.md, made from the records; what a field means is kept as people wrote it.

`python -m tests.field_tables --write` brings the tables up to date after a record has changed; a new field's meaning is
then empty, and a test asks for it. A table stands under a comment: `<!-- tags -->` or `<!-- record Name -->`.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from accord.bundle.golden import Golden
from accord.bundle.manifest import Manifest as BundleManifest
from accord.bundle.manifest import Trainable
from accord.bundle.quantization import Quantization
from accord.plan import Plan
from accord.records import Flag, Int, Kind, Many, Name, Nested, Octets, OneOf, Record, Sized, Text
from accord.update.delta import Delta
from accord.wire.chunks import Piece
from accord.wire.envelope import Envelope
from accord.wire.messages import TAGS

PAGE = Path(__file__).parent.parent / "docs" / "protocol.md"


def with_nested(*records: type[Record]) -> list[type[Record]]:
    """Return the records and all those that stand in their fields."""
    found: list[type[Record]] = []
    for record in records:
        kinds = [kind.kind if isinstance(kind, Many) else kind for _, kind in record.kinds()]
        found += [record, *with_nested(*(kind.record for kind in kinds if isinstance(kind, Nested)))]
    return list(dict.fromkeys(found))


RECORDS: Mapping[str, type[Record]] = {
    **{record.__name__: record for record in with_nested(Envelope, Plan, *TAGS.values(), Piece, Delta)},
    **{f"bundle {record.__name__}": record for record in with_nested(BundleManifest, Quantization, Golden)},
}
_TABLE = re.compile(r"<!-- (tags|record [^>]+) -->\n((?:\|[^\n]*\n)*)")


def number(value: int) -> str:
    """Return a number as people write it: powers of two as such."""
    for offset in (0, 1, 4_096, 8_192):
        power = value + offset
        if value >= 1_023 and power >= 8 * offset and power & (power - 1) == 0:
            return f"2^{power.bit_length() - 1}" + (f" - {offset:,}" if offset else "")
    return f"{value:,}"


def described(kind: Kind) -> str:  # noqa: C901, PLR0911 - one return per kind
    """Return in words what a field may hold."""
    match kind:
        case Int():
            return str(kind.low) if kind.low == kind.high else f"{number(kind.low)} to {number(kind.high)}"
        case Flag():
            return "true or false"
        case Octets():
            few = kind.high is None or kind.high == kind.low
            return f"{number(kind.low)} bytes" if few else f"{number(kind.low)} to {number(kind.high or 0)} bytes"
        case Sized():
            return " or ".join(f"{number(size)}" for size in kind.sizes) + " bytes"
        case Name():
            return "name"
        case Text():
            return f"text, at most {kind.high}"
        case OneOf():
            return " or ".join(f"`{word}`" for word in kind.words)
        case Many():
            return f"list of {number(kind.low)} to {number(kind.high)}: {described(kind.kind)}"
        case Nested():
            return kind.record.__name__
        case Trainable():
            return "list of [name, [dimension, ...]]"
        case _:
            raise AssertionError(kind)


def rows_of(title: str) -> tuple[list[str], list[list[str]], int]:
    """Return the heading of a table, its rows as far as they are made, and how many columns people fill in."""
    if title == "tags":
        made = [[f"`{tag}`", record.__name__, number(record.LIMIT)] for tag, record in TAGS.items()]
        return ["tag", "message", "largest, bytes", "from, to", "context"], made, 2
    fields = RECORDS[title.removeprefix("record ")].kinds()
    return ["field", "holds", "means"], [[f"`{name}`", described(kind)] for name, kind in fields], 1


def table(title: str, known: Mapping[str, Sequence[str]]) -> str:
    """Return one table; `known` gives for a row's first cell the cells that people filled in."""
    heading, made, kept = rows_of(title)
    rows = [[*row, *known.get(row[0], [""] * kept)] for row in made]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heading, ["---"] * len(heading), *rows))


def written(title: str, text: str) -> dict[str, list[str]]:
    """Return what people filled in, by the first cell of its row."""
    _, _, kept = rows_of(title)
    cells = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in text.splitlines()[2:]]
    return {row[0]: row[-kept:] for row in cells}


def found(page: str) -> dict[str, str]:
    """Return the tables of a page by their titles."""
    return dict(_TABLE.findall(page))


def renewed(page: str) -> str:
    """Return the page with every table brought up to date."""
    return _TABLE.sub(lambda m: f"<!-- {m[1]} -->\n{table(m[1], written(m[1], m[2]))}", page)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.field_tables --write")
    PAGE.write_text(renewed(PAGE.read_text()))
