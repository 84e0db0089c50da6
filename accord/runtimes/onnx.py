"""The onnxruntime adapter: trains `train.onnx` of a bundle with stock onnxruntime, one thread, no telemetry."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.bundle.forward import ends, forward_graph, training_part
from accord.bundle.grid import GridWeights
from accord.bundle.int8 import fixed_scales, patched, rounded_tensors
from accord.errors import Refusal, UsageError
from accord.runtimes.binding import BoundGraph
from accord.runtimes.losses import flat_rows
from accord.runtimes.training_graph import Feeds, Floats, GraphRuntime
from accord.tensors import Vector

_TELEMETRY = "ORT_DISABLE_TELEMETRY"
PREDICTED_AT_ONCE = 256


def load_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry switched off; a warning if someone imported it before with it on.

    Raises:
        UsageError: onnxruntime is not installed.
    """
    early = "onnxruntime" in sys.modules and os.environ.get(_TELEMETRY) != "1"
    # onnxruntime reads the variable once, when it is loaded: setting it later switches nothing off.
    os.environ[_TELEMETRY] = "1"
    if early:
        warnings.warn(
            f"onnxruntime was imported before accord, so its telemetry may be on: set {_TELEMETRY}=1 for the process",
            RuntimeWarning,
            stacklevel=2,
        )
    try:
        import onnxruntime  # noqa: PLC0415 - loaded lazily, and after the variable is set
    except ImportError as error:
        raise UsageError("this model needs onnxruntime: pip install 'accord-fl[onnx]'") from error
    return onnxruntime  # type: ignore[no-any-return]


def session(graph: bytes, *, integers: bool) -> Any:
    """Return an onnxruntime session of one thread for the bytes of a graph.

    Args:
        graph: a model.
        integers: let QuantizeLinear and DequantizeLinear become int8 operators. A training graph reads the rounded
            values once more on its way back, so there the pairs stay as they are.

    Raises:
        UsageError: onnxruntime is not installed.
        Refusal: `CorruptGraph`: onnxruntime can't load it.
    """
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A device shares its core with the radio; a spinning thread would keep it awake between two batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.enable_mem_pattern = False  # a fifth less memory at the same speed; batches may be ragged
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class
        raise Refusal("CorruptGraph", f"onnxruntime can't load the graph: {error}") from error


_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")
"""What onnxruntime says where an allocation failed: it has no error of its own for that."""


@contextmanager
def _named() -> Iterator[None]:
    """Give onnxruntime's errors, which share no base class, the names of ours."""
    try:
        yield
    except (MemoryError, UsageError):
        raise
    except Exception as error:
        if any(sign in str(error) for sign in _NO_MEMORY):
            raise MemoryError(f"onnxruntime has no memory for these rows: {str(error)[:300]}") from error
        raise UsageError(
            f"onnxruntime can't compute these rows: {str(error)[:300]}: where the model takes ids, "
            "they count from 0 and lie within its tables"
        ) from error


def _run(opened: Any, outputs: Sequence[str], feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    with _named():
        return list(opened.run(outputs, feeds))


class Exported:
    """An exported model, or the one that would be exported: the port `Predictor`.

    Args:
        model: the bytes of a model with one input and one output.

    Raises:
        UsageError: onnxruntime is not installed.
        Refusal: `CorruptGraph`: onnxruntime can't load it.
    """

    def __init__(self, model: bytes) -> None:
        self._session = session(model, integers=True)
        (self._source,) = (item.name for item in self._session.get_inputs())
        (self._output,) = (item.name for item in self._session.get_outputs())

    def predict(self, x: npt.NDArray[Any]) -> Floats:
        """Return the outputs; see the port."""
        rows = np.ascontiguousarray(x, np.float32)
        starts = range(0, max(1, len(rows)), PREDICTED_AT_ONCE)
        parts = [
            _run(self._session, [self._output], {self._source: rows[at : at + PREDICTED_AT_ONCE]})[0] for at in starts
        ]
        return np.concatenate(parts)


class OnnxRuntime(GraphRuntime):
    """A training graph in onnxruntime: the port `Runtime`.

    Args:
        bundle: with a `train.onnx`.

    Raises:
        UsageError: onnxruntime is not installed, or the bundle has no graph.
        Refusal: `CorruptGraph`: onnxruntime can't load the graph, or its inputs and outputs are not the manifest's.
    """

    def __init__(self, bundle: Bundle) -> None:
        if bundle.train is None:
            raise UsageError(
                f"this bundle has no train.onnx: its model {bundle.manifest.model} needs runtime reference"
            )
        super().__init__(bundle)
        manifest = bundle.manifest
        self._train, self._infer = bundle.train, bundle.infer
        loss, output, *others = manifest.output_names
        self._session = session(training_part(bundle.train, (loss, *others)), integers=False)
        self._forward: Any = None
        self._features: Any = None
        self._slots = bundle.quantization
        self._running: tuple[Vector, Exported] | None = None
        inputs = {item.name for item in self._session.get_inputs()}
        outputs = {item.name for item in self._session.get_outputs()}
        if inputs != set(manifest.input_names) or outputs != {loss, *others} or output not in ends(bundle.train)[1]:
            raise Refusal("CorruptGraph", "the inputs and outputs of train.onnx are not those of the manifest")
        self._bound = BoundGraph(self._session, manifest, load_onnxruntime().OrtValue.ortvalue_from_numpy)
        self._outputs = [output]

    def exported(self, params: Vector, x: npt.NDArray[Any]) -> Floats | None:
        """Return what the int8 model gives; see the port."""
        if self._infer is None or self._slots is None:
            return None
        if self._running is None or not np.array_equal(self._running[0], params):
            tensors = rounded_tensors(self._slots, self.layout, params, fixed_scales(self._infer, self._slots))
            _, (output, *_) = ends(self._infer)
            model = Exported(forward_graph(patched(self._infer, tensors), output))
            self._running = (params.copy(), model)
        return self._running[1].predict(np.ascontiguousarray(flat_rows(x, self._manifest.input_shape)).reshape(x.shape))

    def _differentiated(
        self, given: Sequence[npt.NDArray[Any]], params: Vector | GridWeights, out: Vector
    ) -> tuple[float, float]:
        with _named():
            return self._bound.run(given, self._views(params), params, out)

    def _by_tensor(self, feeds: Feeds) -> Sequence[npt.NDArray[Any]]:
        loss, _, *others = self._manifest.output_names
        return _run(self._session, [loss, *others], feeds)

    def _predicted(self, feeds: Feeds) -> npt.NDArray[Any]:
        if self._forward is None:
            self._forward = session(forward_graph(self._train, self._outputs[0]), integers=False)
        found: npt.NDArray[Any] = _run(self._forward, self._outputs, feeds)[0]
        return found

    def _frozen(self, rows: Floats) -> npt.NDArray[Any]:
        assert self._quantization is not None
        assert self._infer is not None, "a bundle with a frozen part has infer.onnx"
        cut = self._quantization.cut
        if self._features is None:
            self._features = session(forward_graph(self._infer, cut), integers=True)
        (source,) = (item.name for item in self._features.get_inputs())
        found: npt.NDArray[Any] = _run(self._features, [cut], {source: rows})[0]
        return found
