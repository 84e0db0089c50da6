"""From a model to the bytes of a training bundle: differentiate, work out golden vectors twice, sign, pack."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.bundle.archive import Bundle, read_bundle, write_bundle
from accord.bundle.golden import make_golden
from accord.bundle.manifest import FORMAT, Specification
from accord.entropy import Entropy
from accord.errors import AccordError, CodecError, UsageError
from accord.runtimes import check_golden, initial, open_runtime
from accord.runtimes.losses import LOSSES
from accord.signing import SigningKey
from accord.tensors import layout_of
from quantize.builders import build_model
from quantize.differentiate.backward import TrainingGraph, training_graph
from quantize.network import OPSET, Network, read_network
from quantize.oracle import exact

GOLDEN_ROWS = 4
ATTEMPTS = 8
"""Golden rows that happen to lie on the edge of a ReLU or a tie of a maximum are drawn again."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A bundle's bytes, the same bundle opened, what was left out of the model, and the largest golden error seen."""

    data: bytes
    bundle: Bundle
    notes: tuple[str, ...]
    golden_error: float


def make_bundle(  # noqa: PLR0917 - the order of the command line
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    batch: int,
    entropy: Entropy,
    signing_key: SigningKey | None = None,
) -> bytes:
    """Return the bytes of a training bundle; see `make`."""
    return make(model, input_shape, outputs, loss, batch, entropy, signing_key).data


def make(  # noqa: PLR0917 - the same
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    batch: int,
    entropy: Entropy,
    signing_key: SigningKey | None = None,
) -> Made:
    """Make a training bundle and test it in onnxruntime.

    Args:
        model: `linear`, `mlp:64,32`, `cnn:small`, or the path of an ONNX model.
        input_shape: one row's.
        outputs: classes, or values per row.
        loss: softmax, binary or mse.
        batch: the largest number of rows of one gradient.
        entropy: initial weights (of a built-in model) and golden rows; a seeded one gives the same bytes every time.
        signing_key: the publisher's.

    Raises:
        UsageError: the model can't be read, built or differentiated.
        Refusal: `GoldenMismatch`: the onnxruntime installed here computes the bundle wrongly.
    """
    kind, network = _network(model, input_shape, outputs, loss, entropy)
    graph = training_graph(network, loss)
    layout = layout_of(network.params)
    params = layout.flatten(network.params)
    try:
        specification = Specification(
            format=FORMAT,
            model=kind,
            tier="float",
            loss=loss,
            input_shape=input_shape,
            outputs=outputs,
            batch=batch,
            opset=OPSET,
            layout=layout,
            exponents=initial.exponents(layout, params),
            input_names=graph.input_names,
            output_names=graph.output_names,
        )
    except CodecError as error:
        raise UsageError(str(error)) from error
    train = graph.model.SerializeToString(deterministic=True)
    for attempt in range(ATTEMPTS):
        source = entropy.child("golden", attempt)
        golden = _golden(specification, graph, network, source)
        data = write_bundle(specification, params=params, golden=golden, train=train, signing_key=signing_key)
        bundle = read_bundle(data, publisher=signing_key.public if signing_key else None)
        try:
            worst = check_golden(open_runtime(bundle, "onnx"), bundle)
        except AccordError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        return Made(data=data, bundle=bundle, notes=network.notes, golden_error=worst)
    raise AssertionError("the loop returns or raises")


def _network(
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    entropy: Entropy,
) -> tuple[str, Network]:
    """Return what the manifest calls the model, and the model ready to differentiate."""
    if loss not in LOSSES:
        raise UsageError(f"loss {loss!r} is unknown: use one of {', '.join(LOSSES)}")
    path = Path(model)
    if path.suffix == ".onnx":
        try:
            loaded = onnx.load(path)
        except Exception as error:  # protobuf's own errors, and the operating system's
            raise UsageError(f"{model} can't be read as an ONNX model: {str(error)[:300]}") from error
        kind = "onnx"
    else:
        loaded, kind = build_model(model, input_shape, outputs, entropy), model
    network = read_network(loaded, input_shape, loss)
    if network.outputs != outputs:
        raise UsageError(f"the model has {network.outputs} outputs, not {outputs}: say --outputs {network.outputs}")
    return kind, network


def _golden(specification: Specification, graph: TrainingGraph, network: Network, entropy: Entropy) -> Any:
    rows = min(specification.batch, GOLDEN_ROWS)
    x = initial.uniform((rows, *specification.input_shape), 2.0, entropy.child("x"))
    loss = LOSSES[specification.loss]
    y: Array = loss.draw(rows, specification.target_shape, specification.outputs, entropy.child("y"))
    fed = y if specification.loss == "softmax" else y.reshape(rows, specification.outputs)
    feeds = dict(zip(graph.input_names, [x, fed, *network.params.values()], strict=True))
    value, outputs, *gradients = exact(graph.model, graph.output_names, feeds)
    pairs = zip(network.params, gradients, strict=True)
    return make_golden(
        specification,
        x=x,
        y=y,
        loss=float(value),
        outputs=outputs.astype(np.float32),
        gradient=specification.layout.flatten({name: found.astype(np.float32) for name, found in pairs}),
        entropy=entropy,
    )
