"""An entry as people and programs read it: a line of text, or a JSON-ready object."""

import time
from typing import Any

from aggregator.audit.entries import AuditEntry


def fact(index: int, entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as a JSON-ready object: `time` in aggregator seconds, `digest` in hexadecimal."""
    return {
        "index": index,
        "time": entry.time,
        "kind": entry.kind,
        "subject": entry.subject,
        "digest": entry.digest.hex(),
    }


def line(found: dict[str, Any]) -> str:
    """Return such an object as one line; the time is UTC."""
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(found["time"]))
    except (OverflowError, ValueError):  # a time that no calendar has
        when = f"{found['time']} s"
    return f"{found['index']:>7}  {when}  {found['kind']:<13}  {found['digest'][:16]}  {found['subject']}"
