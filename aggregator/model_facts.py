"""A version as `accord model` tells of it: JSON-ready facts, and times and faults as people read them."""

import time
from typing import Any

from aggregator.registry_values import Registered
from aggregator.verification import Fault


def facts(entry: Registered) -> dict[str, Any]:
    """Return what is said of a version wherever it is named; digests in hexadecimal."""
    version = entry.version
    names = ("job", "version", "origin", "round", "attempt", "code", "roles_version", "time")
    digests = ("parent", "restored", "plan", "transcript", "bundle", "params")
    found: dict[str, Any] = {name: getattr(version, name) for name in names}
    found |= {name: getattr(version, name).hex() for name in digests}
    return found | {"stage": entry.stage, "digest": entry.digest.hex(), "data_schema": version.data.digest.hex()}


def sentence(fault: Fault) -> str:
    """Return what does not hold, and of which version."""
    where = f"job {fault.job}" if fault.version is None else f"version {fault.version} of job {fault.job}"
    return f"{where}: {fault.rule}: {fault.detail}"


def when(seconds: int) -> str:
    """Return wall time to the minute, UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
