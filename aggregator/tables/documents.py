"""JSON as the tables hold it: one text per value, keys sorted, no number that JSON has not."""

import json
from collections.abc import Mapping
from typing import Any


def written(value: Mapping[str, Any]) -> str:
    """Return the text of a JSON object.

    Raises:
        ValueError: it holds NaN or infinity.
        TypeError: it holds something that JSON has not.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read(text: str) -> dict[str, Any]:
    """Return the JSON object that `written` wrote."""
    found: dict[str, Any] = json.loads(text)
    return found
