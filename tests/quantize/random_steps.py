"""The steps that random graphs are made of: each takes a tensor of the graph and returns one that follows from it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.quantize.random_graph import Graph

Step = Callable[[Graph, str], str]

FUNCTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Abs", {}),
    ("Cast", {"to": 1}),
    ("Celu", {"alpha": 0.6}),
    ("Cos", {}),
    ("Elu", {"alpha": 0.7}),
    ("Erf", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.4}),
    ("HardSwish", {}),
    ("Identity", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("Mish", {}),
    ("Neg", {}),
    ("Relu", {}),
    ("Selu", {}),
    ("Sigmoid", {}),
    ("Sin", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Tanh", {}),
)


def function(graph: Graph, x: str) -> str:
    operator, attributes = graph.one_of(*FUNCTIONS)
    return graph.add(operator, x, **attributes)


def function_above_zero(graph: Graph, x: str) -> str:
    operator = graph.one_of("Sqrt", "Log", "Reciprocal", "Exp", "Pow", "Pow trained", "Pow whole")
    if operator == "Exp":
        return graph.add("Exp", graph.add("Tanh", x))
    if operator == "Pow whole":
        return graph.add("Pow", x, graph.tensor(graph.one_of(2, 3), graph.one_of(np.float32, np.int64)))
    p = graph.positive(x)
    if operator == "Pow":
        return graph.add("Pow", p, graph.number(graph.one_of(-0.5, 0.5, 1.5, 2.0)))
    if operator == "Pow trained":
        return graph.add("Pow", p, graph.weight(*broadcast_shape(graph, x)))
    return graph.add(operator, p)


def clip(graph: Graph, x: str) -> str:
    low, high = graph.number(-0.4), graph.number(0.5)
    return graph.add("Clip", x, *graph.one_of((low, high), (low,), ("", high), (low, "")))


def along_an_axis(graph: Graph, x: str) -> str:
    operator = graph.one_of("Softmax", "LogSoftmax", "LpNormalization", "LpNormalization 1")
    if operator == "LpNormalization 1":
        return graph.add("LpNormalization", x, axis=graph.axis(x), p=1)
    return graph.add(operator, x, axis=graph.axis(x))


def broadcast_shape(graph: Graph, x: str) -> tuple[int, ...]:
    """A shape that broadcasts with that of x, and sometimes makes it wider where it is 1."""
    shape = [1, *graph.shape(x)[1:]]
    for place in range(1, len(shape)):
        if graph.whole(0, 3) == 0:
            shape[place] = 1 if shape[place] > 1 else 2
    return tuple(shape[graph.whole(0, len(shape) - 1) :])


def operand(graph: Graph, x: str) -> str:
    """Something to combine with x: a weight, a part of a larger one, or a tensor of the graph that fits."""
    shape = broadcast_shape(graph, x)
    kind = graph.one_of("weight", "weight", "tensor", "function", "elements", "rows", "cells")
    if kind == "tensor":
        fitting = [name for name in graph.floats if broadcasts(graph.shape(name), graph.shape(x))]
        return graph.draw(st.sampled_from(fitting)) if fitting else graph.weight(*shape)  # type: ignore[no-any-return]
    if kind == "function":
        return graph.add("Tanh", graph.weight(*shape))
    if kind == "elements":
        axis = graph.whole(0, len(shape) - 1)
        table = graph.weight(*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
        places = graph.numbers.integers(-shape[axis] - 1, shape[axis] + 1, shape)
        return graph.add("GatherElements", table, graph.tensor(places, np.int64), axis=axis)
    if kind == "rows":
        table = graph.weight(4, *shape[1:])
        return graph.add("Gather", table, graph.tensor(graph.numbers.integers(-4, 4, shape[:1]), np.int64), axis=0)
    if kind == "cells":
        table = graph.weight(3, 4)
        return graph.add("GatherND", table, graph.tensor(graph.numbers.integers(-3, 3, (*shape, 2)), np.int64))
    return graph.weight(*shape)


def broadcasts(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether two shapes broadcast to one that has the rows in front."""
    if len(one) != len(other):
        return False
    return all(1 in (a, b) or a == b for a, b in zip(one[1:], other[1:], strict=True))


def arithmetic(graph: Graph, x: str) -> str:
    operator = graph.one_of("Add", "Sub", "Mul", "Div", "Max", "Min", "Where", "PRelu", "Sum", "Mean", "many")
    if operator in ("Sum", "Mean", "many"):
        inputs = [x, operand(graph, x), graph.weight(*graph.shape(x)[-1:])]
        widest = max((graph.shape(name) for name in inputs), key=np.prod)
        if not all(fits_into(graph.shape(name), widest) for name in inputs):
            inputs = [x, graph.weight(*graph.shape(x)[1:])]
        order = graph.draw(st.permutations(inputs))
        return graph.add(graph.one_of("Max", "Min") if operator == "many" else operator, *order)
    if operator == "PRelu":
        slope = graph.weight(*(graph.one_of(dim, 1) for dim in graph.shape(x)[1:]))
        return graph.add("PRelu", x, slope)
    if operator == "Where":
        return choice(graph, x)
    pair = [x, operand(graph, x)]
    if graph.one_of(True, False):
        pair.reverse()
    if operator == "Div":
        pair[1] = graph.positive(pair[1])
    return graph.add(operator, *pair)


def fits_into(shape: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    padded = (1,) * (len(wide) - len(shape)) + shape
    return len(padded) == len(wide) and all(a in (1, b) for a, b in zip(padded, wide, strict=True))


def choice(graph: Graph, x: str) -> str:
    other = graph.weight(*graph.shape(x)[1:])
    if graph.one_of(True, False):
        condition = graph.add(graph.one_of("Greater", "Less"), x, other)
    else:
        shape = tuple(graph.one_of(dim, 1) for dim in graph.shape(x)[1:])
        condition = graph.tensor(graph.numbers.integers(0, 2, shape), np.bool_)
    return graph.add("Where", condition, *graph.draw(st.permutations([x, other])))


def reduction(graph: Graph, x: str) -> str:
    operator = graph.one_of(*(f"Reduce{kind}" for kind in ("L1", "L2", "LogSumExp", "Max", "Mean")))
    if graph.one_of(True, False):
        operator = graph.one_of("ReduceMin", "ReduceSum", "ReduceSumSquare")
    rank = len(graph.shape(x))
    axes = graph.draw(st.lists(st.integers(1, rank - 1), min_size=1, max_size=rank - 1, unique=True))
    signed = [graph.one_of(axis, axis - rank) for axis in axes]
    # A row keeps at least one axis, so that what follows has one to work on.
    keep = 1 if len(axes) == rank - 1 else graph.one_of(0, 1)
    return graph.add(operator, x, graph.setting(*signed), keepdims=keep)


def centred_on_the_batch(graph: Graph, x: str) -> str:
    return graph.add("Sub", x, graph.add("ReduceMean", x, graph.setting(0), keepdims=1))


def product(graph: Graph, x: str) -> str:
    shape, width = graph.shape(x), graph.whole(1, 4)
    kind = graph.one_of("plain", "Gemm", *(("left", "itself", "stack") if len(shape) > 2 else ()))
    if kind == "Gemm":
        return gemm(graph, graph.add("Flatten", x))
    if kind == "left":
        return graph.add("MatMul", graph.weight(width, shape[-2]), x)
    if kind == "itself":
        turned = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        return graph.add("MatMul", x, graph.add("Transpose", x, perm=turned))
    stack = shape[1:-2] if kind == "stack" else ()
    return graph.add("MatMul", x, graph.weight(*stack, shape[-1], width))


def contraction(graph: Graph, x: str) -> str:
    shape, width = graph.shape(x), graph.whole(1, 4)
    letters = "nabcd"[: len(shape)]
    kind = graph.one_of("last", *(("alone", "outer") if len(shape) > 2 else ()))
    if kind == "alone":
        kept = "n" + "".join(graph.draw(st.permutations(letters[1:])))[: graph.whole(1, len(letters) - 1)]
        return graph.add("Einsum", x, equation=f"{letters}->{kept}")
    if kind == "outer":
        inner = letters[graph.whole(1, len(letters) - 1)]
        weight = graph.weight(shape[letters.index(inner)], width)
        return graph.add("Einsum", x, weight, equation=f"{letters},{inner}z->nz{inner}")
    rest = graph.one_of(letters, "..." + letters[-1])
    return graph.add("Einsum", x, graph.weight(shape[-1], width), equation=f"{rest},{letters[-1]}z->{rest[:-1]}z")


def gemm(graph: Graph, x: str) -> str:
    inner, outer = graph.shape(x)[1], graph.whole(1, 4)
    turned = graph.one_of(0, 1)
    inputs = [x, graph.weight(*((outer, inner) if turned else (inner, outer)))]
    if graph.one_of(True, False):
        inputs.append(graph.weight(*graph.one_of((outer,), (1, outer), (1,))))
    return graph.add("Gemm", *inputs, transB=turned, alpha=graph.one_of(1.0, 0.5), beta=graph.one_of(1.0, 2.0))


def normalisation(graph: Graph, x: str) -> str:
    shape = graph.shape(x)
    kind = graph.one_of("layer", "batch", "instance" if len(shape) > 2 and np.prod(shape[2:]) > 1 else "batch")
    channels = shape[1]
    if kind == "layer":
        axis = graph.axis(x)
        over = shape[axis:]
        scale, bias = graph.weight(*over, low=0.5, high=1.5), graph.weight(*over)
        return graph.add("LayerNormalization", x, scale, *graph.one_of((), (bias,)), axis=axis, epsilon=0.01)
    scale, bias = graph.weight(channels, low=0.5, high=1.5), graph.weight(channels)
    if kind == "instance":
        return graph.add("InstanceNormalization", x, scale, bias, epsilon=0.01)
    mean, variance = graph.weight(channels), graph.weight(channels, low=0.5, high=2.0)
    return graph.add("BatchNormalization", x, scale, bias, mean, variance)


def recurrent(graph: Graph, x: str) -> str:
    if len(graph.shape(x)) != 3:
        x = graph.add("Reshape", x, graph.setting(0, graph.shape(x)[1], -1))
    kind, width = graph.one_of("LSTM", "GRU", "RNN"), 2
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * width
    direction = graph.one_of("forward", "reverse", "bidirectional")
    ways = 2 if direction == "bidirectional" else 1
    attributes: dict[str, Any] = {"hidden_size": width, "direction": direction}
    if kind == "GRU":
        attributes["linear_before_reset"] = graph.one_of(0, 1)
    steps = graph.add("Transpose", x, perm=[1, 0, 2])
    inputs = [steps, graph.weight(ways, gates, graph.shape(x)[2]), graph.weight(ways, gates, width)]
    inputs += [graph.weight(ways, 2 * gates)] if graph.one_of(True, False) else []
    outputs = graph.add(kind, *inputs, **attributes)
    return graph.add("Flatten", graph.add("Transpose", outputs, perm=[2, 0, 1, 3]))


ANYWHERE: tuple[Step, ...] = (
    function,
    function_above_zero,
    clip,
    along_an_axis,
    arithmetic,
    arithmetic,
    reduction,
    centred_on_the_batch,
    product,
    contraction,
    normalisation,
)
