"""A float network divided by a tier: what is frozen in int8, what is trained, and where each parameter ends."""

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.bundle.manifest import MAX_TENSORS
from accord.bundle.quantization import STEPS, WHOLE_TENSOR, Quantization, Slot
from accord.errors import UsageError
from quantize.differentiate.tape import initialisers
from quantize.int8.blocks import Block, blocks
from quantize.int8.calibrate import calibrated
from quantize.int8.grid import Grid
from quantize.int8.rounding import RANGE, Rounded
from quantize.int8.tensors import rounded_tensors
from quantize.network import IR_VERSION, OPSET, Network, shapes_of

HEADROOM = 1.25
"""How many times as far as its largest weight the grid of tier int8 goes where weights come from a training before."""
DRAWN_HEADROOM = 2.0
"""The same for drawn weights, which grow."""
_TIER = re.compile(r"float|head|last-all|last-[1-9][0-9]?|int8")


@dataclass(frozen=True, kw_only=True)
class Divided:
    """The part that is trained, the whole int8 model, and how the one goes into the other."""

    train: Network
    infer: onnx.ModelProto
    quantization: Quantization
    grids: Mapping[str, Grid]
    frozen: tuple[str, ...]
    """Weights that do not change."""

    def start(self, trained: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the values of what the graph takes, by name; those of int8 steps are what they stand for."""
        constants = {item.name: item for item in self.infer.graph.initializer}
        found = dict(trained)
        for (name, steps), slot in zip(trained.items(), self.quantization.slots, strict=True):
            if slot.kind == STEPS:
                scales = onnx.numpy_helper.to_array(constants[slot.scale])
                shape = [-1 if place == slot.axis else 1 for place in range(steps.ndim)]
                found[name] = steps * (scales if slot.axis == WHOLE_TENSOR else scales.reshape(shape))
        return found


def checked_tier(tier: str) -> str:
    """Return the tier.

    Raises:
        UsageError: there is none of that name.
    """
    if _TIER.fullmatch(tier) is None:
        raise UsageError(f"tier {tier!r} is unknown: use float, head, last-2 (or another number), last-all, or int8")
    return tier


def cut_of(network: Network, tier: str) -> tuple[str, tuple[Block, ...]]:
    """Return the tensor at which the frozen part ends ("" if nothing is frozen), and the blocks that are trained.

    Raises:
        UsageError: the model has not as many blocks.
    """
    found = blocks(network)
    if checked_tier(tier) in ("float", "last-all", "int8"):
        return "", tuple(found)
    behind = 1 if tier == "head" else 1 + int(tier.removeprefix("last-"))
    if behind > len(found):
        raise UsageError(
            f"tier {tier} trains the head and {behind - 1} blocks before it; this model has {len(found) - 1}: "
            "use last-all to train everything"
        )
    trained = tuple(found[-behind:])
    return ("" if trained[0].cut == network.x else trained[0].cut), trained


def divided(network: Network, tier: str, rows: npt.NDArray[Any], *, follow: bool, drawn: bool = False) -> Divided:
    """Return the network divided by a tier other than `float`.

    Args:
        network: the float model.
        tier: head, last-K, last-all or int8.
        rows: real rows (N, *input_shape) from which the grids of activations are taken.
        follow: let the scales of activations be trained, for a net that starts from nothing; with tier last-all or
            int8 only.
        drawn: whether the weights come from no training, which decides how far they may grow with tier int8.

    Raises:
        UsageError: the tier does not suit the model, or the rows do not.
    """
    cut, trained_blocks = cut_of(network, tier)
    if follow and cut:
        raise UsageError(f"activation scales can be trained with tier last-all or int8 only, not with {tier}")
    network = activations_first(network)
    trained = _behind(network, cut)
    roots = rounded_tensors(network)
    own = tuple(dict.fromkeys(roots.values()))
    grids = calibrated(network, own, rows, symmetric=follow)
    ending = f"{cut}/q" if cut in roots else cut
    headroom = None if tier != "int8" else DRAWN_HEADROOM if drawn else HEADROOM
    training = Rounded(network, grids, trained=trained, follow=follow, doubled=(cut,), headroom=headroom)
    running = Rounded(network, grids, trained=(), follow=False, doubled=None, headroom=headroom)
    assert trained_blocks
    train = _suffix(network, training, ending, trained)
    return Divided(
        train=train,
        infer=_whole(network, running, train, ending),
        quantization=Quantization(
            cut=ending,
            feature_shape=tuple(int(dim or 0) for dim in train.shapes[ending][1:]) if cut else (),
            feature_type="int8" if ending != cut else "float32",
            slots=tuple(_slot(name, train, running, training.steps) for name in train.params),
        ),
        grids=grids,
        frozen=tuple(name for name in network.params if name not in train.params),
    )


def activations_first(network: Network) -> Network:
    """Return the same function with MaxPool behind the ReLU after it: then Conv and ReLU are one int8 operator."""
    nodes = list(network.nodes)
    readers: dict[str, int] = {}
    for node in nodes:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    for place, (pool, relu) in enumerate(itertools.pairwise(nodes)):
        if pool.op_type != "MaxPool" or relu.op_type != "Relu" or relu.input[0] != pool.output[0]:
            continue
        if readers[pool.output[0]] > 1 or len(pool.output) > 1:
            continue
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(relu)
        second.CopyFrom(pool)
        first.input[0], second.output[0] = pool.input[0], relu.output[0]
        first.output[0] = second.input[0] = pool.output[0]
        nodes[place], nodes[place + 1] = first, second
    shapes = shapes_of(
        nodes, {**network.constants, **network.params}, network.x, network.shapes[network.x][1:], network.output
    )
    return replace(network, nodes=tuple(nodes), shapes=shapes)


def _behind(network: Network, cut: str) -> tuple[str, ...]:
    """Return the parameters that the output depends on without passing the cut."""
    wanted = {network.output}
    for node in reversed(network.nodes):
        if wanted & set(node.output):
            wanted.update(name for name in node.input if name != cut)
    return tuple(name for name in network.params if name in wanted)


def _suffix(network: Network, training: Rounded, ending: str, trained: tuple[str, ...]) -> Network:
    """Return the training form from `ending` on."""
    x = ending or network.x
    wanted, kept = {network.output}, []
    for node in reversed(training.nodes):
        if wanted & set(node.output):
            wanted.update(name for name in node.input if name != x)
            kept.append(node)
    nodes = kept[::-1]
    params = {name: training.steps.get(name, network.params[name]) for name in trained}
    params.update({name: value for name, value in training.ranges.items() if name in wanted})
    constants = {name: value for name, value in training.constants.items() if name in wanted and name not in params}
    source = ending.removesuffix("/q") if ending else network.x
    kind = onnx.TensorProto.INT8 if x != source else onnx.TensorProto.FLOAT
    row = network.shapes[source][1:]
    return Network(
        nodes=tuple(nodes),
        params=params,
        constants=constants,
        shapes=shapes_of(nodes, {**constants, **params}, x, row, network.output, kind),
        x=x,
        x_type=kind,
        output=network.output,
        notes=network.notes,
    )


def _whole(network: Network, running: Rounded, train: Network, ending: str) -> onnx.ModelProto:
    """Return the int8 model; where it was cut, what the frozen part gives is a second output."""
    helper, kinds = onnx.helper, onnx.TensorProto
    outputs = [helper.make_tensor_value_info(network.output, kinds.FLOAT, ["N", network.outputs])]
    if ending:
        outputs.append(helper.make_tensor_value_info(ending, train.x_type, ["N", *train.shapes[ending][1:]]))
    used = {name for node in running.nodes for name in node.input}
    graph = helper.make_graph(
        running.nodes,
        "infer",
        [helper.make_tensor_value_info(network.x, kinds.FLOAT, ["N", *network.shapes[network.x][1:]])],
        outputs,
        initialisers(running.constants, used),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="accord")


def _slot(name: str, train: Network, running: Rounded, steps: Collection[str]) -> Slot:
    params = list(train.params)
    if name in running.weights:
        axis, _ = running.weights[name]
        place = WHOLE_TENSOR if axis is None else axis
        kind = STEPS if name in steps else "weight"
        return Slot(kind=kind, values=f"{name}/q", scale=f"{name}/scale", rows="", axis=place, weight=0)
    if name in running.biases:
        weight = running.biases[name]
        root = running.weights[weight][1]
        if weight in params:
            at = params.index(weight)
            assert at < MAX_TENSORS
            return Slot(kind="bias", values=f"{name}/q", scale=f"{name}/scale", rows=f"{root}/scale", axis=0, weight=at)
    if name.endswith(RANGE) and name not in running.constants:
        scale = f"{name.removesuffix(RANGE)}/scale"
        return Slot(kind="range", values="", scale=scale, rows="", axis=0, weight=0)
    return Slot(kind="float", values=name, scale="", rows="", axis=0, weight=0)
