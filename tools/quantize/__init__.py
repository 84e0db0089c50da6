"""Model to training bundle: differentiates an ONNX graph ahead of time. Never needed on a device."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantize.making import make_bundle as make_bundle

__all__ = ["make_bundle"]


def __getattr__(name: str) -> Any:
    """Load `make_bundle` when it is asked for: the command table reads this package before `onnx` is known to exist."""
    if name == "make_bundle":
        from quantize.making import make_bundle  # noqa: PLC0415 - loaded lazily

        return make_bundle
    raise AttributeError(f"module 'quantize' has no attribute {name!r}")
