"""The onnxruntime adapter: trains `train.onnx` of a bundle with stock onnxruntime, one thread, no telemetry."""

import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.bundle.forward import ends, forward_graph
from accord.bundle.int8 import patched, rounded_tensors, scalars
from accord.errors import Refusal, UsageError
from accord.runtimes.losses import checked_targets, checked_weights, flat_rows
from accord.tensors import Layout, Vector

Floats = npt.NDArray[np.float32]

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


def _run(opened: Any, outputs: Sequence[str], feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    try:
        return list(opened.run(outputs, feeds))
    except Exception as error:  # onnxruntime's own errors share no base class
        raise UsageError(
            f"onnxruntime can't compute these rows: {str(error)[:300]}: where the model takes ids, "
            "they count from 0 and lie within its tables"
        ) from error


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


class OnnxRuntime:
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
        manifest = bundle.manifest
        self.layout: Layout = manifest.layout
        self._manifest = manifest
        self._train, self._infer = bundle.train, bundle.infer
        quantization = bundle.quantization
        self._quantization = quantization if quantization is not None and quantization.cut else None
        self._session = session(bundle.train, integers=False)
        self._forward: Any = None
        self._frozen: Any = None
        self._slots = bundle.quantization
        self._running: tuple[Vector, Exported] | None = None
        inputs = {item.name for item in self._session.get_inputs()}
        outputs = {item.name for item in self._session.get_outputs()}
        if inputs != set(manifest.input_names) or not outputs >= set(manifest.output_names):
            raise Refusal("CorruptGraph", "the inputs and outputs of train.onnx are not those of the manifest")
        self._gradients = [manifest.output_names[0], *manifest.output_names[2:]]  # all but the outputs
        self._outputs = [manifest.output_names[1]]
        self._params: tuple[Vector, dict[str, Floats]] | None = None
        self.metric = math.nan

    def prepared(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the frozen part gives; see the port."""
        manifest, quantization = self._manifest, self._quantization
        rows = np.ascontiguousarray(flat_rows(x, manifest.input_shape)).reshape(x.shape)
        if quantization is None or self._infer is None:
            return rows
        if self._frozen is None:
            self._frozen = session(forward_graph(self._infer, quantization.cut), integers=True)
        (source,) = (item.name for item in self._frozen.get_inputs())
        features = np.empty((len(rows), *quantization.feature_shape), quantization.feature_type)
        for start in range(0, len(rows), manifest.batch):
            part = slice(start, start + manifest.batch)
            features[part] = _run(self._frozen, [quantization.cut], {source: rows[part]})[0]
        return features

    def gradients(
        self,
        params: Vector,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        out: Vector | None = None,
        weights: npt.NDArray[Any] | None = None,
    ) -> tuple[float, Vector]:
        """Return the mean loss and the gradient; see the port."""
        count = x.shape[0]
        if not 1 <= count <= self._manifest.batch:
            raise UsageError(f"{count} rows where a batch of 1 to {self._manifest.batch} is expected")
        feeds = self._feeds(params, x)
        feeds[self._manifest.input_names[1]] = self._targets(y, count)
        feeds[self._manifest.input_names[2]] = (
            np.ones(count, np.float32) if weights is None else checked_weights(weights, count)
        )
        loss, metric, *found = _run(self._session, self._gradients, feeds)
        if out is None:
            out = np.empty(self.layout.size, np.float32)
        for place, value in zip(self.layout.places, found, strict=True):
            out[place.offset : place.offset + place.size] = value.reshape(-1)
        self.metric = float(metric)
        return float(loss), out

    def predict(self, params: Vector, x: npt.NDArray[Any]) -> Floats:
        """Return the outputs; see the port."""
        manifest = self._manifest
        if self._forward is None:
            self._forward = session(forward_graph(self._train, manifest.output_names[1]), integers=False)
        outputs = np.empty((x.shape[0], manifest.outputs), np.float32)
        for start in range(0, x.shape[0], manifest.batch):
            feeds = self._feeds(params, x[start : start + manifest.batch])
            outputs[start : start + manifest.batch] = _run(self._forward, self._outputs, feeds)[0]
        return outputs

    def exported(self, params: Vector, x: npt.NDArray[Any]) -> Floats | None:
        """Return what the int8 model gives; see the port."""
        if self._infer is None or self._slots is None:
            return None
        if self._running is None or not np.array_equal(self._running[0], params):
            tensors = rounded_tensors(self._slots, self.layout, params, scalars(self._infer))
            _, (output, *_) = ends(self._infer)
            model = Exported(forward_graph(patched(self._infer, tensors), output))
            self._running = (params.copy(), model)
        return self._running[1].predict(np.ascontiguousarray(flat_rows(x, self._manifest.input_shape)).reshape(x.shape))

    def _targets(self, y: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
        """Return labels int64 (N,), or targets float32 (N, outputs), as the graph takes them."""
        manifest = self._manifest
        y = checked_targets(y, count, manifest.target_shape)
        if manifest.loss != "softmax":
            targets = np.ascontiguousarray(y, np.float32).reshape(count, manifest.outputs)
            if manifest.loss == "binary" and not (float(targets.min()) >= 0.0 and float(targets.max()) <= 1.0):
                raise UsageError("binary labels are 0 and 1")
            return targets
        if y.dtype.kind not in "iu":
            raise UsageError(f"softmax labels are integers, not {y.dtype}")
        if int(y.min()) < 0 or int(y.max()) >= manifest.outputs:
            raise UsageError(f"a label lies outside the classes 0 to {manifest.outputs - 1}")
        return np.ascontiguousarray(y, np.int64)

    def _feeds(self, params: Vector, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        manifest = self._manifest
        rows = self._rows(x)
        if self._params is None or self._params[0] is not params:
            if params.dtype != np.float32 or not params.flags.c_contiguous:
                raise UsageError("parameters are a contiguous float32 vector")
            views = self.layout.views(params).values()
            self._params = (params, dict(zip(manifest.tensor_names, views, strict=True)))
        return {manifest.input_names[0]: rows, **self._params[1]}

    def _rows(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return prepared rows as the training graph takes them."""
        quantization = self._quantization
        if quantization is None:
            return np.ascontiguousarray(flat_rows(x, self._manifest.input_shape)).reshape(x.shape)
        if x.shape[1:] != quantization.feature_shape or x.dtype != np.dtype(quantization.feature_type):
            raise UsageError(
                f"rows of shape {x.shape[1:]} and type {x.dtype} where prepared rows of shape "
                f"{quantization.feature_shape} and type {quantization.feature_type} are expected"
            )
        return np.ascontiguousarray(x)
