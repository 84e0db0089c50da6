"""What one step of a bundle costs: bytes that are kept for the backward pass, memory, and time on this machine.

Memory is worked out from the graph that onnxruntime makes of the training graph when it opens it: what it fuses and
orders anew keeps tensors alive longer, on deep nets by half.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.bundle.archive import Bundle
from accord.bundle.forward import training_part
from accord.bundle.grid import WeightGrid, grid_of
from accord.entropy import SeededEntropy
from accord.optimisers import OnGrid, Sgd, StochasticRounding
from accord.runtimes import Runtime, open_runtime
from accord.runtimes.losses import LOSSES
from accord.runtimes.onnx import load_onnxruntime, session
from quantize.making import Made
from quantize.network import Network

RUNTIME_BASE = 83 << 20
"""Bytes of a process that has loaded Python, NumPy and onnxruntime and run a small graph, as measured on x86-64.

Of the libraries a machine keeps as many pages in memory as it likes: 72 to 83 MiB were seen of the same process.
"""
NODE_BYTES = 6 << 10
"""What a session takes for each node of a graph: measured, too."""
ARENA = 1.15
"""Bytes of onnxruntime's arena for each byte of live tensors, as some lie free between them: 1.08 to 1.28 were seen."""
STEPS, SECONDS = 30, 2.0
"""A step's time is the median of so many steps, or of those that end in so many seconds; at least three."""
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Operators whose output is their input with another shape: no bytes of its own."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a device pays.

    - `activations`: bytes of forward tensors that the backward pass reads, for a whole batch.
    - `features`: bytes of what the frozen part gives for one row, 0 where nothing is frozen; kept for all rows.
    - `memory`: bytes in use at the worst moment of a step, by what they are for; the rows themselves are not in it.
    - `seconds`: of one step, the gradients of a whole batch and SGD, with momentum but for tier int8, as the median of
      `steps` on this machine with one thread.
    """

    activations: int
    features: int
    memory: Mapping[str, int]
    seconds: float
    steps: int


def costs_of(made: Made, rows: Array | None) -> Costs:
    """Return the costs of a bundle.

    Args:
        made: the bundle.
        rows: some to step on, (N, *input_shape) as the model takes them; None draws some.
    """
    manifest, quantization = made.bundle.manifest, made.bundle.quantization
    assert made.bundle.train is not None
    loss, _, *others = manifest.output_names
    train = training_part(made.bundle.train, (loss, *others))
    graph = onnx.load_from_string(train).graph
    sizes = tensor_bytes(made.bundle, graph, manifest.batch)
    running = optimised(train)
    tensors = largest_sum(running, tensor_bytes(made.bundle, running, manifest.batch))
    vector, grid = 4 * manifest.layout.size, grid_of(made.bundle)
    seconds, steps = _step(made, rows)
    frozen = [part.size for part in manifest.parts if part.name in ("train.onnx", "infer.onnx")]
    features = 0
    if quantization is not None and quantization.cut:
        features = math.prod(quantization.feature_shape) * np.dtype(quantization.feature_type).itemsize
    return Costs(
        activations=saved_bytes(graph, made.trained, sizes),
        features=features,
        memory={
            "parameters": vector if grid is None else grid.empty().nbytes,
            "gradient": vector if grid is None else 0,  # the flat one; those that the graph gives are among its tensors
            "momentum": vector if grid is None else 0,
            "tensors": round(ARENA * tensors),
            "graphs": sum(frozen) + NODE_BYTES * len(running.node),
            "runtime": RUNTIME_BASE,
        },
        seconds=seconds,
        steps=steps,
    )


def optimised(train: bytes) -> onnx.GraphProto:
    """Return the graph that onnxruntime runs in place of a training graph: fused, and in its own order."""
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # it warns that what it writes suits this processor
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        runtime.InferenceSession(train, options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath).graph


def tensor_bytes(bundle: Bundle, of: onnx.GraphProto, batch: int) -> dict[str, int]:
    """Return the bytes of each tensor that one form of a bundle's training graph computes for a batch, and of its rows.

    The graph runs on the golden rows, once on one and once on two: a size is that at one row, and its growth from one
    to two for every further row. Shape inference can't tell all of them.
    """
    assert bundle.train is not None
    manifest = bundle.manifest
    model = onnx.load_from_string(bundle.train)
    model.graph.CopyFrom(of)
    known = {item.domain for item in model.opset_import}
    domains = sorted({node.domain for node in of.node} - known)
    model.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in domains)
    given = {info.name for info in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    opened = session(model.SerializeToString(), integers=False)
    x, y = bundle.golden.examples(manifest)
    quantization = bundle.quantization
    if quantization is not None and quantization.cut:
        x = bundle.golden.frozen(quantization)
    x, y = np.resize(x, (2, *x.shape[1:])), np.resize(y, (2, *y.shape[1:]))
    y = y if manifest.loss == "softmax" else y.reshape(2, manifest.outputs)
    grid = grid_of(bundle)
    views = manifest.layout.views(bundle.params).values() if grid is None else grid.nearest(bundle.params).tensors
    params = dict(zip(manifest.tensor_names, views, strict=True))
    found: list[dict[str, int]] = []
    for rows in (1, 2):
        feeds = [x[:rows], y[:rows], np.ones(rows, np.float32)]
        values = opened.run(names, {**dict(zip(manifest.input_names, feeds, strict=False)), **params})
        found.append({name: int(value.nbytes) for name, value in zip(names, values, strict=True)})
        found[-1][manifest.input_names[0]] = int(feeds[0].nbytes)
    one, two = found
    return {name: size + (batch - 1) * (two[name] - size) for name, size in one.items()}


def saved_bytes(graph: onnx.GraphProto, trained: Network, sizes: Mapping[str, int]) -> int:
    """Return the bytes of the forward tensors that depend on the rows and that the backward pass reads.

    A view counts as the tensor that it shows, once. The loss belongs to the backward pass.
    """
    own = {node.output[0] for node in trained.nodes}
    root = {trained.x: trained.x}
    saved: set[str] = set()
    for node in graph.node:
        if node.output[0] not in own:
            saved.update(root[name] for name in node.input if name in root)
        elif any(name in root for name in node.input):
            first = node.input[0]
            for name in node.output:
                root[name] = root[first] if node.op_type in _VIEWS and first in root else name
    return sum(sizes[name] for name in saved)


def largest_sum(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> int:
    """Return the largest sum of bytes of computed tensors that are alive at once, nodes in the graph's order.

    A tensor lives from the node that gives it to the last one that reads it, or that reads a view of it; outputs live
    to the end.
    """
    root: dict[str, str] = {}
    last: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name in node.input:
            last[root.get(name, name)] = place
        for name in filter(None, node.output):
            view = node.op_type in _VIEWS and node.input[0] in root
            root[name] = root[node.input[0]] if view else name
            last.setdefault(root[name], place)
    for info in graph.output:
        last[root.get(info.name, info.name)] = len(graph.node)
    ending: dict[int, list[str]] = {}
    for name in set(root.values()):
        ending.setdefault(last[name], []).append(name)
    alive = worst = 0
    for place, node in enumerate(graph.node):
        alive += sum(sizes[name] for name in node.output if name and root[name] == name)
        worst = max(worst, alive)
        alive -= sum(sizes.get(name, 0) for name in ending.get(place, ()))
    return worst


def _step(made: Made, rows: Array | None) -> tuple[float, int]:
    """Return the median seconds of a step, and of how many."""
    bundle = made.bundle
    manifest = bundle.manifest
    count, entropy = manifest.batch, SeededEntropy(0)
    if rows is None:
        rows = made.network.draw(count, entropy.child("x"))
    runtime = open_runtime(bundle, "onnx")
    x = runtime.prepared(np.resize(rows, (count, *manifest.input_shape)))
    y = LOSSES[manifest.loss].draw(count, manifest.target_shape, manifest.outputs, entropy.child("y"))
    step = _floats(bundle, runtime, x, y) if runtime.grid is None else _steps(bundle, runtime, runtime.grid, x, y)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 4 or (len(times) <= STEPS and time.perf_counter() - started < SECONDS):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:]), len(times) - 1  # the first one takes memory


def _floats(bundle: Bundle, runtime: Runtime, x: Array, y: Array) -> Callable[[], None]:
    """Return what takes one step with float32 parameters."""
    params = bundle.params.copy()
    gradient, optimiser = np.empty_like(params), Sgd(params, learning_rate=1e-6, momentum=0.9)

    def step() -> None:
        runtime.gradients(params, x, y, gradient)
        optimiser.step(params, gradient)

    return step


def _steps(bundle: Bundle, runtime: Runtime, grid: WeightGrid, x: Array, y: Array) -> Callable[[], None]:
    """Return what takes one step with int8 weights."""
    optimiser = OnGrid(grid, Sgd(bundle.params, learning_rate=1e-6), StochasticRounding(bytes(32)))
    weights = optimiser.start(bundle.params)
    return lambda: optimiser.step(weights, runtime.slopes(weights, x, y)[1])
