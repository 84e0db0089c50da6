"""Trains `train.tflite` of a bundle in any TFLite interpreter, through the model's signatures. Chooses none.

`train` takes x, y, weights and the parameters and gives the loss, the outputs, the metric and the gradients; `predict`
takes x and the parameters and gives the outputs; `prepare`, where a part is frozen, takes x and gives what comes out of
that part. The first dimension follows the rows: an interpreter plans its memory anew when their number changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.bundle.grid import GridWeights
from accord.bundle.int8 import fixed_scales, represented
from accord.errors import Refusal, UsageError
from accord.runtimes.training_graph import Feeds, Floats, GraphRuntime
from accord.tensors import Vector

Opener = Callable[[bytes], Any]
"""The bytes of a model -> an interpreter of one thread."""


_NO_ROOM = ("failed to prepare", "llocat")
"""What an interpreter says of a signature that has run before, where the tensors of more rows do not fit."""


class SignatureRuntime(GraphRuntime):
    """A training graph in a TFLite interpreter: the port `Runtime`.

    Args:
        bundle: with a `train.tflite`.
        opener: makes an interpreter.

    Raises:
        UsageError: the bundle has no such graph.
        Refusal: `CorruptGraph`: the interpreter can't load it, or its signatures are not the manifest's.
    """

    LABELS: ClassVar[npt.DTypeLike] = np.int32
    emulates: ClassVar[bool] = True

    def __init__(self, bundle: Bundle, opener: Opener) -> None:
        if bundle.tflite is None:
            raise UsageError("this bundle has no train.tflite: make it with `accord quantize --tflite`")
        super().__init__(bundle)
        names = self._manifest.input_names, self._manifest.output_names
        self._model = bundle.tflite  # an interpreter reads constants from these bytes as long as it lives
        try:
            interpreter = opener(self._model)
            found: Mapping[str, Mapping[str, Sequence[str]]] = interpreter.get_signature_list()
        except (ValueError, RuntimeError) as error:
            raise Refusal("CorruptGraph", f"the interpreter can't load train.tflite: {error}") from error
        wanted = {"train", "predict"} | ({"prepare"} if self._quantization is not None else set())
        if not wanted <= set(found):
            raise Refusal("CorruptGraph", f"train.tflite has not the signatures {', '.join(sorted(wanted))}")
        train, predict = found["train"], found["predict"]
        if set(train["inputs"]) != set(names[0]) or set(train["outputs"]) != set(names[1]):
            raise Refusal("CorruptGraph", "the inputs and outputs of train.tflite are not those of the manifest")
        if set(predict["inputs"]) != {names[0][0], *self._manifest.tensor_names} or set(predict["outputs"]) != {
            names[1][1]
        }:
            raise Refusal("CorruptGraph", "signature predict of train.tflite does not fit the manifest")
        self._run = {name: interpreter.get_signature_runner(name) for name in wanted}
        self._interpreter = interpreter
        self._ran: set[str] = set()
        self._slots, self._infer = bundle.quantization, bundle.infer
        self._emulated: tuple[Vector, Vector] | None = None

    def exported(self, params: Vector, x: npt.NDArray[Any]) -> Floats | None:
        """Return what the int8 model gives, emulated: that model is ONNX; see the port."""
        if self._slots is None or self._infer is None:
            return None
        if self._emulated is None or not np.array_equal(self._emulated[0], params):
            found = represented(self._slots, self.layout, params, fixed_scales(self._infer, self._slots))
            self._emulated = (params.copy(), found)
        return self.predict(self._emulated[1], self.prepared(x))

    def _differentiated(
        self, given: Sequence[npt.NDArray[Any]], params: Vector | GridWeights, out: Vector
    ) -> tuple[float, float]:
        names = self._manifest.input_names
        loss, _, metric, *gradients = self._manifest.output_names
        found = self._called("train", dict(zip(names, given, strict=False)) | self._views(params))
        for place, name in zip(self.layout.places, gradients, strict=True):
            out[place.offset : place.offset + place.size] = found[name].reshape(-1)
        return float(found[loss]), float(found[metric])

    def _by_tensor(self, feeds: Feeds) -> Sequence[npt.NDArray[Any]]:
        loss, _, *others = self._manifest.output_names
        found = self._called("train", feeds)
        return [found[name] for name in (loss, *others)]

    def _predicted(self, feeds: Feeds) -> npt.NDArray[Any]:
        return self._called("predict", feeds)[self._manifest.output_names[1]]

    def _frozen(self, rows: Floats) -> npt.NDArray[Any]:
        (found,) = self._called("prepare", {"x": rows}).values()
        return found

    def _rows(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # Whole numbers of a grid are floats within the graph.
        return np.ascontiguousarray(super()._rows(x), np.float32)

    def _called(self, signature: str, feeds: Feeds) -> Mapping[str, npt.NDArray[Any]]:
        try:
            found: Mapping[str, npt.NDArray[Any]] = self._run[signature](**feeds)
        except (ValueError, RuntimeError) as error:
            if signature in self._ran and any(sign in str(error) for sign in _NO_ROOM):
                raise MemoryError(f"the interpreter has no memory for these rows: {str(error)[:200]}") from error
            raise Refusal("CorruptGraph", f"signature {signature} of train.tflite can't run: {error}") from error
        self._ran.add(signature)
        return found
