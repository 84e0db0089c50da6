"""The LiteRT adapter: `ai-edge-litert`, the successor of tflite-runtime, one thread."""

from typing import Any

from accord.bundle.archive import Bundle
from accord.errors import UsageError
from accord.runtimes.signatures import SignatureRuntime


def _opened(model: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - loaded lazily
    except ImportError as error:
        raise UsageError("runtime litert needs ai-edge-litert: pip install 'accord-fl[litert]'") from error
    return Interpreter(model_content=model, num_threads=1)


class LitertRuntime(SignatureRuntime):
    """A training graph in LiteRT: the port `Runtime`.

    Args:
        bundle: with a `train.tflite`.

    Raises:
        UsageError: `ai-edge-litert` is not installed, or the bundle has no such graph.
        Refusal: `CorruptGraph`: LiteRT can't load it, or its signatures are not the manifest's.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, _opened)
