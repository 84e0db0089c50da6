"""The tflite-runtime adapter: for boards that have packages of nothing else; NumPy 1, Python 3.11 or older, one thread.

tflite-runtime ended in 2023. Its REVERSE_V2 over two axes gives wrong numbers without an error: `quantize` writes none,
and the golden self-test would find it.
"""

from typing import Any

import numpy as np

from accord.bundle.archive import Bundle
from accord.errors import UsageError
from accord.runtimes.signatures import SignatureRuntime


def _opened(model: bytes) -> Any:
    try:
        from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415 - loaded lazily
    except ImportError as error:
        raise UsageError(
            "runtime tflite needs tflite-runtime, on Python 3.11 or older: pip install 'accord-fl[tflite]'"
        ) from error
    if int(np.__version__.partition(".")[0]) > 1:
        raise UsageError(
            f"tflite-runtime does not work with NumPy {np.__version__}: pip install 'accord-fl[tflite]' in an "
            "environment of its own"
        )
    return Interpreter(model_content=model, num_threads=1)


class TfliteRuntime(SignatureRuntime):
    """A training graph in tflite-runtime: the port `Runtime`.

    Args:
        bundle: with a `train.tflite`.

    Raises:
        UsageError: tflite-runtime is not installed, NumPy is too new for it, or the bundle has no such graph.
        Refusal: `CorruptGraph`: it can't load the graph, or the graph's signatures are not the manifest's.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, _opened)
