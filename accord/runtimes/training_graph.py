"""What the runtimes of training graphs share: rows, labels and parameters become a graph's inputs. Loads no runtime."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.bundle.grid import GridWeights, grid_of
from accord.errors import UsageError
from accord.runtimes.losses import checked_targets, checked_weights, flat_rows
from accord.tensors import Layout, Vector

Floats = npt.NDArray[np.float32]
Feeds = dict[str, npt.NDArray[Any]]


class GraphRuntime(ABC):
    """A training graph: the port `Runtime`, but for the runs themselves.

    Args:
        bundle: with a training graph.
    """

    LABELS: ClassVar[npt.DTypeLike] = np.int64
    """Type of the labels that the graph takes for softmax."""
    emulates: ClassVar[bool] = False

    def __init__(self, bundle: Bundle) -> None:
        self._manifest = bundle.manifest
        self.layout: Layout = bundle.manifest.layout
        quantization = bundle.quantization
        self._quantization = quantization if quantization is not None and quantization.cut else None
        self.grid = grid_of(bundle)
        self._params: tuple[Vector | GridWeights, Feeds] | None = None
        self._rounded: GridWeights | None = None
        self._ones = np.ones(0, np.float32)
        self.metric = math.nan

    @abstractmethod
    def _differentiated(
        self, given: Sequence[npt.NDArray[Any]], params: Vector | GridWeights, out: Vector
    ) -> tuple[float, float]:
        """Run the graph on x, y and the rows' weights; return the loss and the metric, and write the gradient to `out`.

        Raises:
            UsageError: `out` can't take a gradient.
        """

    @abstractmethod
    def _by_tensor(self, feeds: Feeds) -> Sequence[npt.NDArray[Any]]:
        """Run the graph; return the loss, the metric and the gradients in layout order, in memory of the runtime's."""

    @abstractmethod
    def _predicted(self, feeds: Feeds) -> npt.NDArray[Any]:
        """Run its forward part; return the outputs (N, outputs)."""

    @abstractmethod
    def _frozen(self, rows: Floats) -> npt.NDArray[Any]:
        """Return what the frozen part gives for at most a batch of rows; called only where there is one."""

    def prepared(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the frozen part gives; see the port."""
        manifest, quantization = self._manifest, self._quantization
        rows = np.ascontiguousarray(flat_rows(x, manifest.input_shape)).reshape(x.shape)
        if quantization is None:
            return rows
        features = np.empty((len(rows), *quantization.feature_shape), quantization.feature_type)
        for start in range(0, len(rows), manifest.batch):
            part = slice(start, start + manifest.batch)
            features[part] = self._frozen(rows[part])
        return features

    def gradients(
        self,
        params: Vector | GridWeights,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        out: Vector | None = None,
        weights: npt.NDArray[Any] | None = None,
    ) -> tuple[float, Vector]:
        """Return the mean loss and the gradient; see the port."""
        given = self._given(x, y, weights)
        if out is None:
            out = np.empty(self.layout.size, np.float32)
        loss, self.metric = self._differentiated(given, self._held(params), out)
        return loss, out

    def slopes(self, weights: GridWeights, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[float, Sequence[Floats]]:
        """Return the mean loss and the gradient by tensor; see the port."""
        views = self._views(self._held(weights))
        given = dict(zip(self._manifest.input_names, self._given(x, y, None), strict=False))
        loss, metric, *found = self._by_tensor({**given, **views})
        self.metric = float(metric)
        return float(loss), found

    def _given(
        self, x: npt.NDArray[Any], y: npt.NDArray[Any], weights: npt.NDArray[Any] | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Floats]:
        """Return x, y and the rows' weights as the graph takes them."""
        count = x.shape[0]
        if not 1 <= count <= self._manifest.batch:
            raise UsageError(f"{count} rows where a batch of 1 to {self._manifest.batch} is expected")
        if weights is None:
            if len(self._ones) != count:
                self._ones = np.ones(count, np.float32)
            weights = self._ones
        else:
            weights = checked_weights(weights, count)
        return self._rows(x), self._targets(y, count), weights

    def predict(self, params: Vector | GridWeights, x: npt.NDArray[Any]) -> Floats:
        """Return the outputs; see the port."""
        manifest, held = self._manifest, self._held(params)
        outputs = np.empty((x.shape[0], manifest.outputs), np.float32)
        for start in range(0, x.shape[0], manifest.batch):
            rows = self._rows(x[start : start + manifest.batch])
            feeds = {manifest.input_names[0]: rows, **self._views(held)}
            outputs[start : start + manifest.batch] = self._predicted(feeds)
        return outputs

    def _targets(self, y: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
        """Return labels (N,), or targets float32 (N, outputs), as the graph takes them."""
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
        return np.ascontiguousarray(y, self.LABELS)

    def _held(self, params: Vector | GridWeights) -> Vector | GridWeights:
        """Return the parameters in the form that the graph takes: a vector is rounded where there is a grid.

        Raises:
            UsageError: they are no contiguous float32 vector, or are on a grid where there is none.
        """
        if isinstance(params, GridWeights):
            if self.grid is None:
                raise UsageError(f"tier {self._manifest.tier} has no grid: its parameters are a float32 vector")
            self._rounded = None  # what was evaluated before is not needed while steps are trained
            return params
        if params.dtype != np.float32 or not params.flags.c_contiguous:
            raise UsageError("parameters are a contiguous float32 vector")
        if self.grid is None:
            return params
        self._rounded = self.grid.nearest(params, self._rounded)  # anew each time: they may have changed in place
        return self._rounded

    def _views(self, params: Vector | GridWeights) -> Feeds:
        """Return what `_held` returned as views by their names in the graph; worked out once for each."""
        if self._params is None or self._params[0] is not params:
            views = params.tensors if isinstance(params, GridWeights) else self.layout.views(params).values()
            self._params = (params, dict(zip(self._manifest.tensor_names, views, strict=True)))
        return self._params[1]

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
