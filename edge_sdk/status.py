"""Where a device stands, from its state folder alone; nothing is changed, and a running device is not disturbed."""

from typing import Any

from accord.files import DISK, FileError
from accord.link.abilities import NEW, OLD
from edge_sdk.config import DeviceConfig
from edge_sdk.example_store import ExampleStore
from edge_sdk.journal import DiskRecords
from edge_sdk.readings import Readings
from edge_sdk.saved import FILES
from edge_sdk.timekeeper import Timekeeper


def status(config: DeviceConfig) -> dict[str, Any]:
    """Return JSON-ready facts.

    Raises:
        FileError: the state folder can't be read.
    """
    unmet = config.constraints.unmet(Readings(config.state)())
    found: dict[str, Any] = {
        "device": config.device,
        "state": str(config.state),
        "enrolled": all(DISK.exists(path) for path in (config.identity, config.certificate, config.roles, config.root)),
        "resting_for": [item.name for item in unmet],
        "broker": _broker(config),
    }
    if not DISK.exists(config.state):
        return found | {"rounds": None, "examples": None, "clock": None}
    keeper = Timekeeper(config.clock)
    return found | {
        "rounds": _rounds(config),
        "examples": _examples(config, keeper),
        "clock": keeper.peek().state.value,
    }


def _broker(config: DeviceConfig) -> dict[str, Any]:
    reach = config.reach
    known = DiskRecords(config.state, config.job).broker() if DISK.exists(config.state) else None
    return {
        "host": reach.host,
        "port": reach.mutual_port if reach.certified and reach.mutual_port else reach.port,
        "tls": not reach.insecure,
        "certificate": reach.certified,
        "mqtt": None if known is None else {OLD: "3.1.1", NEW: "5"}[known.version],
    }


def _rounds(config: DeviceConfig) -> dict[str, Any]:
    try:
        ledger = DiskRecords(config.state, config.job).ledger()
    except FileError as error:
        return {"damaged": str(error)}
    under_way = [name for name in FILES if DISK.exists(config.state / name)]
    return {
        "last_round": ledger.round,
        "last_attempt": ledger.attempt,
        "participations": ledger.participations,
        "under_way": under_way[-1] if under_way else None,
    }


def _examples(config: DeviceConfig, keeper: Timekeeper) -> dict[str, Any]:
    if not DISK.exists(config.store):
        return {"count": 0, "bytes": 0, "damage": []}
    store = ExampleStore(config.store, keeper.peek, config.examples)
    damage = [{"segment": d.segment, "lost_bytes": d.lost, "reason": d.reason} for d in store.damage]
    return {"count": len(store), "bytes": store.size, "damage": damage}
