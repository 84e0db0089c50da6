"""Rules of arithmetic, functions, activations and reductions."""

from typing import Any

import numpy as np
import pytest

from tests.quantize.gradient_check import check_case
from tests.quantize.graphs import Case, dense, flat, node, positive, weights, whole


def unary(operator: str, **attributes: Any) -> Case:
    return dense([node(operator, "h", "f", **attributes)], {}, (6,))


def above(operator: str) -> Case:
    return positive([node(operator, "p", "t")], {}, (6,))


def reduced(operator: str, axes: tuple[int, ...] | None, **attributes: Any) -> Case:
    """`h` comes from (3, 4, 2); the reduction is added to it, so that shapes with and without kept axes count."""
    inputs, tensors = ("h", {}) if axes is None else ("h axes", {"axes": whole(*axes)})
    return flat([node(operator, inputs, "t", **attributes)], tensors, (3, 4, 2))


CASES: dict[str, Case] = {
    "Add broadcast": dense([node("Add", "b h", "m"), node("Flatten", "m", "f")], {"b": weights(3, 1)}, (3, 4)),
    "Add itself": dense([node("Add", "h h", "f")], {}, (4,)),
    "Sub": dense([node("Sub", "h b", "s"), node("Sub", "b s", "f")], {"b": weights(4)}, (4,)),
    "Mul": dense([node("Mul", "h b", "s"), node("Mul", "s h", "f")], {"b": weights(1, 4)}, (4,)),
    "Div": dense([node("Div", "h b", "s"), node("Div", "b s", "f")], {"b": weights(4, low=1.0, high=2.0)}, (4,)),
    "Relu": unary("Relu"),
    "LeakyRelu": unary("LeakyRelu", alpha=0.2),
    "Sigmoid": unary("Sigmoid"),
    "Tanh": unary("Tanh"),
    "Softmax": unary("Softmax", axis=1),
    "Softmax inner axis": dense([node("Softmax", "h", "s", axis=1), node("Flatten", "s", "f")], {}, (3, 4)),
    "Clip": dense([node("Clip", "h low high", "f")], {"low": np.float32(-0.3), "high": np.float32(0.4)}, (6,)),
    "Clip one side": dense([node("Clip", "h low", "f")], {"low": np.float32(-0.3)}, (6,)),
    "Sum": flat([node("Sum", "h b c", "t")], {"b": weights(3, 1), "c": weights(4)}, (3, 4)),
    "Mean": flat([node("Mean", "h b c", "t")], {"b": weights(3, 1), "c": weights(1, 3, 4)}, (3, 4)),
    "Mean of the smaller first": flat([node("Mean", "b h", "t")], {"b": weights(4)}, (3, 4)),
    "three readers": flat([node("Tanh", "h", "a"), node("Sum", "h a h", "b"), node("Mul", "b h", "t")], {}, (4,)),
    "Neg": unary("Neg"),
    "Pow two": flat([node("Pow", "h two", "t")], {"two": np.float32(2)}, (6,)),
    "Pow three": flat([node("Pow", "h three", "t")], {"three": np.int64(3)}, (6,)),
    "Pow root": positive([node("Pow", "p half", "t")], {}, (6,)),
    "Pow each": positive([node("Pow", "p b", "t")], {"b": weights(3, 1)}, (3, 4)),
    "Pow trained": positive(
        [node("Mul", "p s", "e1"), node("Pow", "p e1", "t")], {"s": weights(3, 1, low=0.2)}, (3, 4)
    ),
    "Max": flat([node("Max", "h b", "t")], {"b": weights(3, 1)}, (3, 4)),
    "Max of three": flat([node("Max", "b h c", "t")], {"b": weights(4), "c": weights(3, 1, seed=4)}, (3, 4)),
    "Max of one": flat([node("Max", "h", "t")], {}, (4,)),
    "Min": flat([node("Min", "h b", "t")], {"b": weights(1, 3, 4)}, (3, 4)),
    "Min of three": flat([node("Min", "b h c", "t")], {"b": weights(4), "c": weights(3, 1, seed=4)}, (3, 4)),
    "Where": flat([node("Where", "c h b", "t")], {"c": np.array([[True], [False], [True]]), "b": weights(4)}, (3, 4)),
    "Where of what is computed": flat(
        [node("Greater", "h b", "c"), node("Mul", "h h", "s"), node("Where", "c s b", "t")], {"b": weights(4)}, (3, 4)
    ),
    "Cast": flat([node("Cast", "h", "t", to=1)], {}, (4,)),
    "Cast of a comparison": flat(
        [node("Greater", "h b", "c"), node("Cast", "c", "m", to=1), node("Mul", "m h", "t")],
        {"b": np.float32(0.1)},
        (4,),
    ),
    "Sqrt": above("Sqrt"),
    "Exp": unary("Exp"),
    "Log": above("Log"),
    "Reciprocal": above("Reciprocal"),
    "Abs": unary("Abs"),
    "Erf": unary("Erf"),
    "Sin": unary("Sin"),
    "Cos": unary("Cos"),
    "PRelu": flat([node("PRelu", "h s", "t")], {"s": weights(3, 1, low=0.1)}, (3, 4)),
    "PRelu one slope": flat([node("PRelu", "h s", "t")], {"s": weights(1)}, (3, 4)),
    "HardSigmoid": dense([node("Mul", "h wide", "v"), node("HardSigmoid", "v", "f")], {"wide": np.float32(5)}, (9,)),
    "HardSigmoid steep": unary("HardSigmoid", alpha=0.9, beta=0.4),
    "HardSwish": dense([node("Mul", "h wide", "v"), node("HardSwish", "v", "f")], {"wide": np.float32(5)}, (9,)),
    "Gelu": dense([node("Mul", "h wide", "v"), node("Gelu", "v", "f")], {"wide": np.float32(3)}, (9,)),
    "Gelu tanh": dense(
        [node("Mul", "h wide", "v"), node("Gelu", "v", "f", approximate="tanh")], {"wide": np.float32(3)}, (9,)
    ),
    "Elu": unary("Elu", alpha=0.7),
    "Selu": unary("Selu"),
    "Celu": unary("Celu", alpha=0.6),
    "Softplus": dense([node("Mul", "h wide", "v"), node("Softplus", "v", "f")], {"wide": np.float32(20)}, (9,)),
    "Softsign": unary("Softsign"),
    "Mish": unary("Mish"),
    "LogSoftmax": unary("LogSoftmax", axis=-1),
    "LogSoftmax inner axis": flat([node("LogSoftmax", "h", "t", axis=1)], {}, (3, 4)),
    "ReduceSum": reduced("ReduceSum", (1,), keepdims=0),
    "ReduceSum kept, two axes": reduced("ReduceSum", (-1, 1), keepdims=1),
    "ReduceSum none": reduced("ReduceSum", None, noop_with_empty_axes=1),
    "ReduceMean": reduced("ReduceMean", (-2,), keepdims=0),
    "ReduceMean kept": reduced("ReduceMean", (3, 1), keepdims=1),
    "ReduceMean of the batch": flat(
        [node("ReduceMean", "h axes", "m"), node("Sub", "h m", "t")], {"axes": whole(0)}, (4,)
    ),
    "ReduceMax": reduced("ReduceMax", (-1,), keepdims=0),
    "ReduceMax kept": reduced("ReduceMax", (1, 2), keepdims=1),
    "ReduceMin": reduced("ReduceMin", (1, 2), keepdims=0),
    "ReduceL1": reduced("ReduceL1", (2,), keepdims=0),
    "ReduceL2": reduced("ReduceL2", (1, -1), keepdims=0),
    "ReduceSumSquare": reduced("ReduceSumSquare", (2,), keepdims=1),
    "ReduceLogSumExp": reduced("ReduceLogSumExp", (-1,), keepdims=0),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    check_case(CASES[name], "softmax")
