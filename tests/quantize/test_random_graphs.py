"""Random graphs of all rules: onnxruntime against float64, differences against both, and the model as it was drawn."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from accord.bundle.operators import check_operators
from accord.errors import UsageError
from accord.runtimes.losses import LOSSES
from quantize.differentiate.backward import TrainingGraph, training_graph
from quantize.differentiate.registry import known_operators
from quantize.network import Network, read_network
from quantize.oracle import exact
from tests.quantize.gradient_check import run
from tests.quantize.graphs import Array, forward, model
from tests.quantize.random_graph import ROWS, Draw, Graph
from tests.quantize.random_shapes import STEPS

WIDTH = 4e-6
"""How far parameters are moved: further than float32 rounds, so that what it may change is seen in float64."""
TOLERANCE = 1e-4
ROUGH = 1e-3
"""A gradient that changes by more over that distance is a matter of float32's rounding."""
BENT = 1e-7
"""A gradient that changes by this much more one way than the other lies on a kink or a tie."""
EXACT = 1e-6
"""Of float64 gradients against differences, where there is no kink."""
SMALL = 1e-2
"""A tensor whose gradient is below this part of the largest one is compared on that scale: it may be 0 by symmetry."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A model, rows for it, and what it is to be trained for."""

    model: onnx.ModelProto
    size: tuple[int, ...]
    x: Array
    y: Array
    weights: Array
    loss: str
    fold_norms: bool
    operators: frozenset[str]

    def _repr_pretty_(self, printer: Any, _cycle: Any) -> None:
        printer.text(
            f"{self.loss}, fold_norms={self.fold_norms}, rows of {self.size}:\n{onnx.printer.to_text(self.model)}"
        )


@st.composite
def drawn_models(draw: Draw) -> Drawn:
    graph = Graph(draw)
    last = graph.floats[0]
    for _ in range(draw(st.integers(1, 8))):
        source = graph.one_of(last, last, *graph.floats)
        last = graph.tamed(graph.one_of(*STEPS)(graph, source))
        graph.floats.append(last)
    ends = [graph.add("Flatten", name) for name in dict.fromkeys([last, graph.one_of(last, *graph.floats)])]
    flat = ends[0] if len(ends) == 1 else graph.add("Concat", *ends, axis=1)
    loss, outputs = graph.one_of(*LOSSES), graph.whole(2, 3)
    graph.add("MatMul", flat, graph.weight(graph.shape(flat)[1], outputs))
    graph.nodes[-1].output[0] = "o"
    y: Array = graph.numbers.uniform(-2, 2, (ROWS, outputs)).astype(np.float32)
    if loss in ("softmax", "binary"):
        y = graph.numbers.integers(0, outputs, ROWS) if loss == "softmax" else (y > 0).astype(np.float32)
    return Drawn(
        model=model(graph.nodes, graph.tensors, graph.size),
        size=graph.size,
        x=graph.x,
        y=y,
        weights=graph.numbers.uniform(0.5, 2, ROWS).astype(np.float32),
        loss=loss,
        fold_norms=graph.one_of(True, False),
        operators=frozenset(node.op_type for node in graph.nodes),
    )


def differentiated(drawn: Drawn) -> tuple[Network, TrainingGraph]:
    network = read_network(drawn.model, drawn.size, drawn.loss, fold_norms=drawn.fold_norms)
    try:
        return network, training_graph(network, drawn.loss)
    except UsageError as error:
        assume("does not change the output" not in str(error))  # a weight that only a comparison looks at
        raise


def check(drawn: Drawn) -> None:
    network, graph = differentiated(drawn)
    check_operators(graph.model.SerializeToString())
    given_rows = dict(zip(graph.input_names[:3], (drawn.x, drawn.y, drawn.weights), strict=True))
    feeds = {**given_rows, **network.params}
    precise = gradients(network, graph, feeds)
    floor = SMALL * max(float(np.abs(values).max()) for values in precise.values())
    assume(floor > 1e-6)
    numbers = np.random.default_rng(1)
    direction = {name: numbers.standard_normal(value.shape) for name, value in network.params.items()}
    sides, losses = [], []
    for sign in (1, -1):
        moved = {name: network.params[name] + sign * WIDTH * step for name, step in direction.items()}
        loss, *found = exact(graph.model, (graph.output_names[0], *graph.output_names[3:]), {**given_rows, **moved})
        sides.append(dict(zip(network.params, found, strict=True)))
        losses.append(float(loss))
    middle = {name: (sides[0][name] + sides[1][name]) / 2 for name in precise}
    assume(difference(precise, sides[0], floor) < ROUGH)
    assume(difference(precise, middle, floor) < BENT)
    along = sum(float((precise[name] * step).sum()) for name, step in direction.items())
    scale = sum(float(np.abs(precise[name] * step).sum()) for name, step in direction.items())
    assert abs((losses[0] - losses[1]) / (2 * WIDTH) - along) <= EXACT * scale, "gradients against differences"

    loss, outputs, metric, *found = run(graph, feeds)
    value, exact_outputs, exact_metric = exact(graph.model, graph.output_names[:3], feeds)
    assert abs(loss - value) <= TOLERANCE * max(1, abs(value))
    reach = max(1.0, float(np.abs(exact_outputs).max()))
    assert np.abs(outputs - exact_outputs).max() <= TOLERANCE * reach
    assert abs(metric - exact_metric) <= TOLERANCE * max(1, abs(exact_metric)) or drawn.loss in ("softmax", "binary")
    assert np.abs(outputs - forward(drawn.model, drawn.x)).max() <= TOLERANCE * reach, "what the model computes"
    quick = dict(zip(network.params, found, strict=True))
    assert difference(precise, quick, floor) <= TOLERANCE, "onnxruntime against float64"


def gradients(network: Network, graph: TrainingGraph, feeds: dict[str, Array]) -> dict[str, Array]:
    return dict(zip(network.params, exact(graph.model, graph.output_names[3:], feeds), strict=True))


def difference(one: dict[str, Array], other: dict[str, Array], floor: float) -> float:
    """The largest difference of two gradients, each tensor's on its own scale."""
    return max(
        float(np.abs(one[name] - other[name]).max()) / max(floor, float(np.abs(one[name]).max())) for name in one
    )


def explore(count: int, seed: int, told: Any = None) -> dict[str, int]:
    """Check `count` graphs that were drawn from `seed`; return how often each operator was part of one."""
    seen: Counter[str] = Counter()

    @seeded(seed)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(drawn_models())
    def one(drawn: Drawn) -> None:
        check(drawn)
        seen.update(drawn.operators | {"graphs"})
        if told is not None:
            told(f"{seen['graphs']} of {count}")

    one()
    return dict(seen)


def test_random_graphs() -> None:
    assert explore(12, 0)["graphs"] >= 12


def test_the_steps_know_every_rule() -> None:
    """What a step can write, told by its source: the full count draws them all, and says so."""
    from pathlib import Path  # noqa: PLC0415

    folder = Path(__file__).parent
    text = "".join((folder / f"random_{part}.py").read_text() for part in ("graph", "steps", "shapes"))
    reductions = {name for name in known_operators() if name.startswith("Reduce")}
    missing = {name for name in known_operators() if f'"{name}"' not in text} - reductions
    assert missing == {"QuantizeLinear", "DequantizeLinear"}
