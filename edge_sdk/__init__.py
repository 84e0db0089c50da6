"""What runs on the device: the one package that users import. Importing it loads nothing heavy."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sdk.bounds import Bounds
    from edge_sdk.client import EdgeClient
    from edge_sdk.conditions import Conditions
    from edge_sdk.config import DeviceConfig, load
    from edge_sdk.constraints import Constraints

__all__ = ["Bounds", "Conditions", "Constraints", "DeviceConfig", "EdgeClient", "load"]
_WHERE = {
    "Bounds": "edge_sdk.bounds",
    "Conditions": "edge_sdk.conditions",
    "Constraints": "edge_sdk.constraints",
    "DeviceConfig": "edge_sdk.config",
    "EdgeClient": "edge_sdk.client",
    "load": "edge_sdk.config",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"edge_sdk has no {name}")
    import importlib  # noqa: PLC0415 - lazily, like all else here

    return getattr(importlib.import_module(_WHERE[name]), name)
