"""Model to training bundle: differentiates an ONNX graph ahead of time. Never needed on a device."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantize.making import Choices as Choices
    from quantize.making import make_bundle as make_bundle

__all__ = ["Choices", "make_bundle"]


def __getattr__(name: str) -> Any:
    """Load them when they are asked for: the command table reads this package before `onnx` is known to exist."""
    if name in __all__:
        from quantize import making  # noqa: PLC0415 - loaded lazily

        return getattr(making, name)
    raise AttributeError(f"module 'quantize' has no attribute {name!r}")
