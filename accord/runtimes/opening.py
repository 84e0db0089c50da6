"""Choosing a runtime for a bundle, and loading it only then."""

import importlib.util

from accord.bundle.archive import Bundle
from accord.errors import UsageError
from accord.runtimes.port import Runtime

NAMES = ("auto", "reference", "onnx")


def open_runtime(bundle: Bundle, name: str = "auto") -> Runtime:
    """Return a runtime for the bundle; nothing is compared with its golden vectors yet (`check_golden` does).

    Args:
        bundle: what `read_bundle` returned.
        name: `reference` (NumPy, for linear and mlp), `onnx` (onnxruntime), or `auto`: onnxruntime where the bundle has
            a graph and the package is installed, else NumPy where that can.

    Raises:
        UsageError: the name is unknown, the package is missing, or the runtime can't train this model.
    """
    if name not in NAMES:
        raise UsageError(f"runtime {name!r} is unknown: use one of {', '.join(NAMES)}")
    dense = bundle.manifest.model.split(":")[0] in ("linear", "mlp")
    if name == "auto":
        have = importlib.util.find_spec("onnxruntime") is not None
        name = "onnx" if bundle.train is not None and (have or not dense) else "reference"
    if name == "reference":
        from accord.runtimes.reference import Reference  # noqa: PLC0415 - loaded lazily

        return Reference(bundle.manifest)
    from accord.runtimes.onnx import OnnxRuntime  # noqa: PLC0415 - loaded lazily

    return OnnxRuntime(bundle)
