"""A whole fleet on one machine: in one process (`simulate`), or as processes over MQTT (`accord demo`)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation.in_process import simulate as simulate

__all__ = ["simulate"]


def __getattr__(name: str) -> Any:
    """Load `simulate` when it is asked for: the command table reads this package before its extra is known to exist."""
    if name == "simulate":
        import importlib  # noqa: PLC0415 - lazily

        return importlib.import_module("simulation.in_process").simulate
    raise AttributeError(f"module 'simulation' has no attribute {name!r}")
