"""Choosing a runtime for a bundle, and loading it only then."""

import importlib.util

from accord.bundle.archive import Bundle
from accord.errors import UsageError
from accord.runtimes.port import Runtime

NAMES = ("auto", "reference", "onnx", "litert", "tflite")

PACKAGES = {"onnx": "onnxruntime", "litert": "ai_edge_litert", "tflite": "tflite_runtime"}
"""Runtimes of training graphs, the quickest first, and the packages that they import."""


def chosen(bundle: Bundle) -> str:
    """Return the name of the runtime that `auto` stands for here.

    The first of `PACKAGES` whose package is installed and whose graph the bundle has; else NumPy, where that can train
    the model; else the one to install.
    """
    graphs = {"onnx": bundle.train, "litert": bundle.tflite, "tflite": bundle.tflite}
    possible = [name for name in PACKAGES if graphs[name] is not None]
    for name in possible:
        if importlib.util.find_spec(PACKAGES[name]) is not None:
            return name
    dense = bundle.manifest.model.split(":")[0] in ("linear", "mlp") and bundle.manifest.tier == "float"
    return "reference" if dense or not possible else possible[0]


def open_runtime(bundle: Bundle, name: str = "auto") -> Runtime:
    """Return a runtime for the bundle; nothing is compared with its golden vectors yet (`check_golden` does).

    Args:
        bundle: what `read_bundle` returned.
        name: `reference` (NumPy, for linear and mlp), `onnx` (onnxruntime), `litert` (ai-edge-litert), `tflite`
            (tflite-runtime), or `auto`: what `chosen` returns.

    Raises:
        UsageError: the name is unknown, the package is missing, or the runtime can't train this model.
        Refusal: `CorruptGraph`: the runtime can't load the bundle's graph.
    """
    if name not in NAMES:
        raise UsageError(f"runtime {name!r} is unknown: use one of {', '.join(NAMES)}")
    if name == "auto":
        name = chosen(bundle)
    if name == "onnx":
        from accord.runtimes.onnx import OnnxRuntime  # noqa: PLC0415 - loaded lazily

        return OnnxRuntime(bundle)
    if name == "litert":
        from accord.runtimes.litert import LitertRuntime  # noqa: PLC0415 - loaded lazily

        return LitertRuntime(bundle)
    if name == "tflite":
        from accord.runtimes.tflite import TfliteRuntime  # noqa: PLC0415 - loaded lazily

        return TfliteRuntime(bundle)
    from accord.runtimes.reference import Reference  # noqa: PLC0415 - loaded lazily

    return Reference(bundle.manifest)
