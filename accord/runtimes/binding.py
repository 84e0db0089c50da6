"""A training graph whose parameters are read from, and whose gradients are written to, flat vectors where they lie.

A session that returns its outputs allocates them, touches fresh pages for them, and has them copied: for a small net
that takes a quarter of a step. Here onnxruntime writes each gradient into its place at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.manifest import Manifest
from accord.errors import UsageError
from accord.tensors import Layout, Vector

OfArray = Callable[[npt.NDArray[Any]], Any]
"""An array -> a value of onnxruntime on the same memory, which has to outlive it."""


class BoundGraph:
    """A session and the vectors that it was last run with.

    Args:
        session: of onnxruntime.
        manifest: names what goes in and comes out.
        value_of: `OrtValue.ortvalue_from_numpy` of the same onnxruntime.
    """

    def __init__(self, session: Any, manifest: Manifest, value_of: OfArray) -> None:
        self._session, self._value_of = session, value_of
        self._binding = session.io_binding()
        self._layout: Layout = manifest.layout
        self._given = manifest.input_names[:3]
        loss, _, metric, *self._gradients = manifest.output_names
        self._scalars = np.zeros((), np.float32), np.zeros((), np.float32)
        for name, scalar in zip((loss, metric), self._scalars, strict=True):
            self._binding.bind_ortvalue_output(name, value_of(scalar))
        self._params: object = None
        self._out: Vector | None = None

    def run(
        self, given: Sequence[npt.NDArray[Any]], views: Mapping[str, npt.NDArray[Any]], params: object, out: Vector
    ) -> tuple[float, float]:
        """Return the loss and the metric; the gradient goes to `out`.

        Args:
            given: x, y and the rows' weights, contiguous, of the graph's types.
            views: the parameters by their names in the graph.
            params: what they are views of.
            out: float32 (P,), contiguous, apart from them.

        Raises:
            UsageError: `out` is no such vector.
        """
        # The views are bound once for each vector: a round trains in one, and every step gives its gradient in one.
        if out is not self._out or params is not self._params:
            self._bind(views, params, out)
        for name, array in zip(self._given, given, strict=True):
            self._binding.bind_cpu_input(name, array)
        self._session.run_with_iobinding(self._binding)
        loss, metric = self._scalars
        return float(loss), float(metric)

    def _bind(self, views: Mapping[str, npt.NDArray[Any]], params: object, out: Vector) -> None:
        if out.dtype != np.float32 or not out.flags.c_contiguous or not out.flags.writeable:
            raise UsageError("a gradient goes to a contiguous float32 vector that may be written to")
        # A kernel that reads a weight which another has overwritten gives wrong numbers without an error.
        if any(np.may_share_memory(view, out) for view in views.values()):
            raise UsageError("a gradient goes to a vector of its own, not to that of the parameters")
        self._params = self._out = None  # what fails from here on leaves neither the old vectors bound nor the new ones
        for name, view in views.items():
            self._binding.bind_ortvalue_input(name, self._value_of(view))
        for name, view in zip(self._gradients, self._layout.views(out).values(), strict=True):
            self._binding.bind_ortvalue_output(name, self._value_of(view))
        self._params, self._out = params, out
