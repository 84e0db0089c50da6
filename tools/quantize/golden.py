"""The golden vectors of a bundle: rows drawn, set where roundings are stable, and worked out in float64."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.forward import forward_graph
from accord.bundle.golden import Golden, make_golden
from accord.bundle.manifest import Specification
from accord.entropy import Entropy
from accord.runtimes.losses import LOSSES
from accord.runtimes.onnx import session
from accord.tensors import Layout, Vector
from quantize.differentiate.backward import TrainingGraph
from quantize.int8.tiers import Divided
from quantize.network import Network
from quantize.oracle import exact
from quantize.steady import steady

ROWS = 4
ROUNDED_ROWS = (2, 1)
"""Rows where activations are rounded: fewer leave each bias more room between two edges."""
LEAST_MARGIN = 2e-4
"""Steps: below it one row less is taken. Float32 runtimes were seen to differ by up to 3e-5 steps."""

Array = npt.NDArray[Any]


def golden_vectors(
    specification: Specification,
    graph: TrainingGraph,
    network: Network,
    parts: Divided | None,
    entropy: Entropy,
) -> Golden:
    """Return rows with the loss, outputs and gradients that float64 gives for them.

    Args:
        specification: the bundle's.
        graph: to differentiate with.
        network: the float model.
        parts: how a tier divided it; None for tier float, where nothing is rounded and the parameters are the bundle's.
        entropy: draws the rows.
    """
    counts = (ROWS,) if parts is None else ROUNDED_ROWS
    rows = min(specification.batch, counts[0])
    trained = network if parts is None else parts.train
    x, params, features = network.draw(rows, entropy.child("x")), trained.params, None
    loss = LOSSES[specification.loss]
    y: Array = loss.draw(rows, specification.target_shape, specification.outputs, entropy.child("y"))
    if parts is not None:
        given = _features(parts, x) if parts.quantization.cut else x
        for count in counts:
            found = steady(trained, given[:count], parts.quantization.slots)
            rows = min(count, rows)
            if found.margin >= LEAST_MARGIN:
                break
        params, x, y = found.params, x[:rows], y[:rows]
        if parts.quantization.cut:
            features = found.x
        else:
            x = found.x
    fed = y if specification.loss == "softmax" else y.reshape(rows, specification.outputs)
    inputs = [x if features is None else features, fed, np.ones(rows, np.float32), *params.values()]
    value, outputs, _, *gradients = exact(
        graph.model, graph.output_names, dict(zip(graph.input_names, inputs, strict=True))
    )
    layout = specification.layout
    return make_golden(
        specification,
        x=x,
        y=y,
        loss=float(value),
        outputs=outputs.astype(np.float32),
        gradient=layout.flatten({name: g.astype(np.float32) for name, g in zip(params, gradients, strict=True)}),
        features=features,
        moved=None if parts is None else (_flat(layout, parts, trained.params), _flat(layout, parts, params)),
        entropy=entropy,
    )


def _features(parts: Divided, x: Array) -> Array:
    """Return what the frozen part gives, its rounding spelled out in float32: no integer operator has a part in it."""
    cut = parts.quantization.cut
    plain = session(forward_graph(parts.infer.SerializeToString(), cut), integers=False)
    (source,) = (item.name for item in plain.get_inputs())
    found: Array = plain.run([cut], {source: x})[0]
    return found


def _flat(layout: Layout, parts: Divided, values: Mapping[str, Array]) -> Vector:
    """Return what the graph takes as a flat vector: int8 steps as what they stand for."""
    return layout.flatten(parts.start(values))
