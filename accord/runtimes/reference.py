"""The NumPy runtime for `linear` and `mlp`: the oracle of the others, and the fast path of a simulator.

Each call writes into buffers that are kept per number of rows; a gradient of a small MLP is about twenty NumPy calls.
"""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import write_bundle
from accord.bundle.golden import make_golden
from accord.bundle.grid import GridWeights, WeightGrid
from accord.bundle.manifest import FORMAT, Specification
from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes import initial
from accord.runtimes.losses import LOSSES, Loss, checked_weights, flat_rows
from accord.signing import SigningKey
from accord.tensors import Layout, Vector, layout_of

Floats = npt.NDArray[np.float32]

BATCH = 1_024
"""The largest batch that `build` allows if the caller names no other."""
PREDICTED_AT_ONCE = 1_024
GOLDEN_ROWS = 8
MAX_PARAMETERS = 1 << 26
"""Of a model that is drawn here: 256 MB of float32, which no device of a fleet would train."""
KNOWN = (
    "use linear, mlp:64,32 (widths of hidden layers), cnn:small, cnn:medium, mobilenet:25 (its width in percent), "
    "gru:64 (its units), the path of an .onnx model, or a bundle"
)


def widths(model: str, input_shape: tuple[int, ...], outputs: int) -> tuple[int, ...]:
    """Return inputs, hidden widths and outputs of `linear` or `mlp:64,32`.

    Raises:
        UsageError: another model, or one that is too large to be drawn.
    """
    name, _, hidden = model.partition(":")
    inner: list[str] = hidden.split(",") if hidden else []
    whole = all(w.isdecimal() and w.isascii() and int(w) for w in inner)
    if name not in ("linear", "mlp") or (name == "linear") == bool(inner) or not whole:
        raise UsageError(f"model {model!r} is unknown: {KNOWN}")
    if outputs < 1:
        raise UsageError(f"a model can't have {outputs} outputs: at least 1 is needed")
    found = (math.prod(input_shape), *map(int, inner), outputs)
    size = sum((before + 1) * after for before, after in itertools.pairwise(found))
    if size > MAX_PARAMETERS:
        raise UsageError(f"{model} on rows of shape {input_shape} has {size:,} parameters; at most {MAX_PARAMETERS:,}")
    return found


def build(
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    entropy: Entropy,
    *,
    batch: int = BATCH,
) -> tuple[Specification, Vector]:
    """Return the specification of a model without a graph, and its initial parameters, float32 (P,).

    Args:
        model: `linear` or `mlp:64,32`.
        input_shape: one row's.
        outputs: classes, or values per row.
        loss: softmax, binary, mse or huber.
        entropy: the same entropy gives the same weights as `quantize.make_bundle`.
        batch: the largest number of rows of one gradient.

    Raises:
        UsageError: another model.
        CodecError: a value is out of range.
    """
    tensors = initial.dense_stack(widths(model, input_shape, outputs), entropy)
    layout = layout_of(tensors)
    params = layout.flatten(tensors)
    specification = Specification(
        format=FORMAT,
        model=model,
        tier="float",
        loss=loss,
        input_shape=input_shape,
        outputs=outputs,
        scaled=True,
        batch=batch,
        opset=0,
        layout=layout,
        exponents=initial.exponents(layout, params),
        input_names=(),
        output_names=(),
    )
    return specification, params


def make_bundle(  # noqa: PLR0917 - the order of the command line
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    batch: int,
    entropy: Entropy,
    signing_key: SigningKey | None = None,
) -> bytes:
    """Return a bundle without a graph, made without `onnx`; arguments and errors as for `build`."""
    specification, params = build(model, input_shape, outputs, loss, entropy, batch=batch)
    rows = min(batch, GOLDEN_ROWS)
    x = initial.uniform((rows, *input_shape), 2.0, entropy.child("golden", "x"))
    y = LOSSES[loss].draw(rows, specification.target_shape, outputs, entropy.child("golden", "y"))
    runtime = Reference(specification)
    value, gradient = runtime.gradients(params, x, y)
    outputs_seen = runtime.predict(params, x)
    golden = make_golden(
        specification,
        x=x,
        y=y,
        loss=value,
        outputs=outputs_seen,
        gradient=gradient,
        entropy=entropy,
    )
    return write_bundle(specification, params=params, golden=golden, signing_key=signing_key)


class _Buffers:
    """Scratch for one number of rows: activations and their gradients, layer by layer."""

    __slots__ = ("active", "hidden", "logits", "loss", "share", "slopes")

    def __init__(self, rows: int, sizes: tuple[int, ...], loss: Loss) -> None:
        self.hidden = [np.empty((rows, n), np.float32) for n in sizes[1:-1]]
        self.slopes = [np.empty((rows, n), np.float32) for n in sizes[1:-1]]
        self.active = [np.empty((rows, n), np.bool_) for n in sizes[1:-1]]
        self.logits = np.empty((rows, sizes[-1]), np.float32)
        self.share = np.full((rows, 1), 1.0 / rows, np.float32)
        self.loss = loss.prepared(rows, sizes[-1])


def _shares(weights: npt.NDArray[Any], rows: int) -> Floats:
    found = checked_weights(weights, rows).reshape(rows, 1)
    return found / np.float32(np.add.reduce(found, axis=None, dtype=np.float64))


class Reference:
    """`linear` and `mlp` in NumPy: the port `Runtime`.

    Args:
        specification: a manifest, or what `build` returned.

    Raises:
        UsageError: the model is neither, or its layout is not that of dense layers with weights (in, out).
    """

    def __init__(self, specification: Specification) -> None:
        self.layout: Layout = specification.layout
        if specification.model.partition(":")[0] not in ("linear", "mlp"):
            raise UsageError(f"the reference runtime trains linear and mlp:64,32, not {specification.model!r}")
        self._sizes = widths(specification.model, specification.input_shape, specification.outputs)
        pairs = zip(self._sizes, self._sizes[1:], strict=False)
        shapes = [shape for inputs, outputs in pairs for shape in ((inputs, outputs), (outputs,))]
        if [shape for _, shape in self.layout.tensors] != shapes:
            raise UsageError("the layout is not that of dense layers with weights (inputs, outputs)")
        self._input_shape = specification.input_shape
        self._batch = specification.batch
        self._loss = LOSSES[specification.loss]
        self.metric, self.emulates = math.nan, False
        self.grid: WeightGrid | None = None
        self._buffers: dict[int, _Buffers] = {}
        self._params: tuple[Vector, list[Floats]] | None = None
        self._out: tuple[Vector, list[Floats]] | None = None

    def prepared(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows as float32: nothing is frozen; see the port."""
        return flat_rows(x, self._input_shape).reshape(x.shape)

    @np.errstate(all="ignore")  # what explodes is refused by name where it is used
    def gradients(
        self,
        params: Vector | GridWeights,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        out: Vector | None = None,
        weights: npt.NDArray[Any] | None = None,
    ) -> tuple[float, Vector]:
        """Return the mean loss and the gradient; see the port."""
        rows = flat_rows(x, self._input_shape)
        count = rows.shape[0]
        if not 1 <= count <= self._batch:
            raise UsageError(f"{count} rows where a batch of 1 to {self._batch} is expected")
        if out is None:
            out = np.empty(self.layout.size, np.float32)
        layers, into = self._views_of_params(params), self._views_of_out(out)
        buffers = self._buffers.get(count)
        if buffers is None:
            buffers = self._buffers[count] = _Buffers(count, self._sizes, self._loss)
        signal = rows
        for layer, hidden in enumerate(buffers.hidden):
            np.dot(signal, layers[2 * layer], out=hidden)
            np.add(hidden, layers[2 * layer + 1], out=hidden)
            np.maximum(hidden, 0.0, out=hidden)
            signal = hidden
        logits = buffers.logits
        np.dot(signal, layers[-2], out=logits)
        np.add(logits, layers[-1], out=logits)
        share = buffers.share if weights is None else _shares(weights, count)
        value, self.metric = self._loss.replace_by_slope(logits, y, share, buffers.loss)
        slope = logits
        for layer in range(len(buffers.hidden) - 1, -1, -1):
            hidden, before = buffers.hidden[layer], buffers.slopes[layer]
            np.dot(hidden.T, slope, out=into[2 * layer + 2])
            np.add.reduce(slope, axis=0, out=into[2 * layer + 3])
            np.dot(slope, layers[2 * layer + 2].T, out=before)
            np.greater(hidden, 0.0, out=buffers.active[layer])
            np.multiply(before, buffers.active[layer], out=before)
            slope = before
        np.dot(rows.T, slope, out=into[0])
        np.add.reduce(slope, axis=0, out=into[1])
        return value, out

    def slopes(self, _weights: GridWeights, _x: npt.NDArray[Any], _y: npt.NDArray[Any]) -> tuple[float, list[Floats]]:
        """Refuse: nothing is rounded here; see the port."""
        raise UsageError("the reference runtime rounds nothing: its parameters are a float32 vector")

    @np.errstate(all="ignore")  # the same
    def predict(self, params: Vector | GridWeights, x: npt.NDArray[Any]) -> Floats:
        """Return the outputs; see the port."""
        rows = flat_rows(x, self._input_shape)
        weights = self._views_of_params(params)
        outputs = np.empty((rows.shape[0], self._sizes[-1]), np.float32)
        for start in range(0, rows.shape[0], PREDICTED_AT_ONCE):
            signal = rows[start : start + PREDICTED_AT_ONCE]
            for layer in range(len(self._sizes) - 2):
                signal = np.dot(signal, weights[2 * layer])
                signal += weights[2 * layer + 1]
                np.maximum(signal, 0.0, out=signal)
            part = outputs[start : start + PREDICTED_AT_ONCE]
            np.dot(signal, weights[-2], out=part)
            part += weights[-1]
        return outputs

    def exported(self, _params: Vector, _x: npt.NDArray[Any]) -> None:
        """Nothing is rounded; see the port."""
        return

    # A trainer passes the same two vectors thousands of times: cutting views anew would cost a tenth of each call.
    def _views_of_params(self, params: Vector | GridWeights) -> list[Floats]:
        if self._params is None or self._params[0] is not params:
            if isinstance(params, GridWeights):
                raise UsageError("the reference runtime rounds nothing: its parameters are a float32 vector")
            self._params = (params, self._views(params))
        return self._params[1]

    def _views_of_out(self, out: Vector) -> list[Floats]:
        if self._out is None or self._out[0] is not out:
            self._out = (out, self._views(out))
        return self._out[1]

    def _views(self, vector: Vector) -> list[Floats]:
        if vector.dtype != np.float32 or not vector.flags.c_contiguous:
            raise UsageError("parameters and gradients are contiguous float32 vectors")
        return list(self.layout.views(vector).values())
