"""The table of brokers in docs/brokers.md, made from `broker.conformance`.

`python -m tests.broker_table --write` brings it up to date; it stands between two comments.
"""

import re
import sys
from pathlib import Path

from broker.conformance import table

PAGE = Path(__file__).parent.parent / "docs" / "brokers.md"
_TABLE = re.compile(r"(<!-- brokers -->\n).*?(<!-- end of brokers -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """Return the page with the table that the project's list gives."""
    found, count = _TABLE.subn(lambda match: f"{match[1]}{table()}{match[2]}", text)
    assert count == 1, "docs/brokers.md has no place for its table"
    return found


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(rewritten(PAGE.read_text()))
