"""Every rule's training graph as a TFLite model in LiteRT, against the float64 oracle: loss, outputs and gradients."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accord.errors import UsageError
from quantize.differentiate.backward import TrainingGraph, training_graph
from quantize.network import read_network
from quantize.oracle import exact
from quantize.tflite.model import tflite_model
from quantize.tflite.table import known_translations
from tests.quantize import test_recurrent, test_rules, test_rules_elementwise, test_rules_shapes
from tests.quantize.graphs import Array, with_last
from tests.quantize.tflite.interpreters import operators, runner

CASES = {**test_rules.CASES, **test_rules_elementwise.CASES, **test_rules_shapes.CASES}
MODELS = {
    **{name: (with_last(*case), case[2]) for name, case in CASES.items()},
    **{
        f"recurrent {name}": (model, (test_recurrent.STEPS, test_recurrent.FEATURES))
        for name, model in test_recurrent.CASES.items()
    },
}
UNTRANSLATED = {"GatherElements", "Einsum dots", "Conv depthwise in three dimensions"}
"""Refused by name; see the last tests. TFLite convolves images only, of one dimension or two."""


def graph_of(name: str, loss: str) -> tuple[TrainingGraph, dict[str, Array], tuple[int, ...]]:
    model, size = MODELS[name]
    network = read_network(model, size, loss, fold_norms=False)
    return training_graph(network, loss), dict(network.params), size


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *((name, "softmax") for name in MODELS if name not in UNTRANSLATED),
        *((name, loss) for name in ("Gemm", "Conv", "Conv depthwise") for loss in ("binary", "mse", "huber")),
    ],
)
def test_a_translated_graph_computes_what_the_onnx_graph_says(name: str, loss: str) -> None:
    graph, params, size = graph_of(name, loss)
    model = tflite_model(graph.model, graph.input_names, graph.output_names)
    train, predict = runner(model, "train"), runner(model, "predict")
    x_name, y_name, weights_name = graph.input_names[:3]
    for rows in (3, 5, 2, 3):  # one interpreter: it must follow a batch that grows and shrinks
        rng = np.random.default_rng(rows)
        x = rng.uniform(-1, 1, (rows, *size)).astype(np.float32)
        y: Array = rng.integers(0, 3, rows) if loss == "softmax" else rng.integers(0, 2, (rows, 3)).astype(np.float32)
        weights = rng.uniform(0.5, 2, rows).astype(np.float32)
        precise = exact(graph.model, graph.output_names, {x_name: x, y_name: y, weights_name: weights, **params})
        fed = y.astype(np.int32) if loss == "softmax" else y
        found = train({x_name: x, y_name: fed, weights_name: weights, **params})
        for output, wanted in zip(graph.output_names, precise, strict=True):
            assert found[output].shape == wanted.shape
            scale = max(np.abs(wanted).max(), 0.1)  # what is near zero is the difference of larger numbers
            assert np.abs(found[output] - wanted).max() <= 1e-5 * scale, f"{output} of {rows} rows"
        (outputs,) = predict({x_name: x, **params}).values()
        assert np.allclose(outputs, precise[1], atol=1e-5)


def forward(nodes: list[onnx.NodeProto], tensors: dict[str, Array], size: tuple[int, ...]) -> onnx.ModelProto:
    """A model of other operators than rules write, with output `o`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *size])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).uniform(-1, 1, shape).astype(np.float32)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


def node(operator: str, inputs: str, outputs: str = "o", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


STEPS = {"s": np.float32(0.07), "z": np.int8(-5)}
COLUMN_STEPS = {"s": np.array([0.05, 0.1, 0.02], np.float32), "z": np.zeros(3, np.int8)}
FORWARD: dict[str, Any] = {
    **{name: ([node(name, "x")], {}, (2, 3)) for name in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Round", "Sin")},
    **{name: ([node("Abs", "x", "a"), node(name, "a")], {}, (2, 3)) for name in ("Sqrt", "Log", "Reciprocal")},
    **{name: ([node(name, "x")], {}, (2, 3)) for name in ("Sign", "Softplus", "Identity")},
    **{name: ([node(name, "x b c")], {"b": floats(3), "c": floats(2, 1)}, (2, 3)) for name in ("Max", "Min")},
    "Max of images": (
        [node("Conv", "x w", "h"), node("Max", "h b c")],
        {"w": floats(3, 2, 2, 2), "b": floats(3, 1, 1), "c": floats(4)},
        (2, 4, 5),
    ),
    "Pow": ([node("Abs", "x", "a"), node("Pow", "a b")], {"b": np.float32(1.5)}, (4,)),
    "PRelu": ([node("PRelu", "x b")], {"b": floats(2, 1)}, (2, 3)),
    **{
        name: ([node(name, "x b", "t"), node("Cast", "t", to=TensorProto.FLOAT)], {"b": floats(3)}, (3,))
        for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    },
    "Where, And, Or, Not": (
        [
            node("Greater", "x b", "t"),
            node("Less", "x c", "u"),
            node("And", "t u", "both"),
            node("Or", "t u", "any"),
            node("Not", "both", "no"),
            node("And", "any no", "p"),
            node("Where", "p x c"),
        ],
        {"b": floats(3), "c": floats(1, seed=3)},
        (3,),
    ),
    **{
        name: (
            [node("Conv", "x w", "h"), node(name, "h axes", keepdims=keep)],
            {"w": floats(3, 2, 2, 1), "axes": axes},
            (2, 4, 5),
        )
        for name, keep, axes in (
            ("ReduceSum", 0, whole(2)),
            ("ReduceMean", 1, whole(-1, 1)),
            ("ReduceMax", 0, whole(1)),
            ("ReduceMin", 1, whole(3)),
            ("ReduceProd", 0, whole(2, 3)),
        )
    },
    "Concat of images": (
        [node("Conv", "x w", "h"), node("Mul", "x k", "m"), node("Concat", "h m h", axis=1)],
        {"w": floats(3, 2, 1, 1), "k": floats(4, 5)},
        (2, 4, 5),
    ),
    "Split": ([node("Split", "x parts", "a b", axis=1), node("Mul", "b b")], {"parts": whole(2, 3)}, (5,)),
    "Slice backwards": (
        [node("Slice", "x starts ends axes steps")],
        {"starts": whole(4, -1), "ends": whole(0, -99), "axes": whole(1, 2), "steps": whole(-2, -1)},
        (5, 4),
    ),
    "Pad by a number": (
        [node("Pad", "x pads fill axes")],
        {"pads": whole(1, 0, 2, 3), "fill": np.float32(0.5), "axes": whole(1, -1)},
        (2, 3),
    ),
    "Tile": ([node("Tile", "x repeats")], {"repeats": whole(1, 2, 3)}, (2, 3)),
    "Expand": ([node("Expand", "x shape")], {"shape": whole(1, 4, 3)}, (1, 3)),
    "Gather": ([node("Gather", "x places", axis=1)], {"places": whole(2, 0, 2)}, (4, 2)),
    "QuantizeLinear": ([node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")], STEPS, (3, 4)),
    "QuantizeLinear by channel": (
        [node("QuantizeLinear", "x s z", "q", axis=1), node("DequantizeLinear", "q s z", axis=1)],
        COLUMN_STEPS,
        (3, 4),
    ),
    "QuantizeLinear of an image": (
        [
            node("Conv", "x w", "h"),
            node("QuantizeLinear", "h s z", "q", axis=1),
            node("DequantizeLinear", "q s z", axis=1),
        ],
        {**COLUMN_STEPS, "w": floats(3, 2, 3, 2)},
        (2, 5, 4),
    ),
    "DequantizeLinear of a constant": (
        [node("DequantizeLinear", "k s z", "w"), node("MatMul", "x w")],
        {"k": np.arange(-6, 6, dtype=np.int8).reshape(4, 3), **STEPS},
        (4,),
    ),
    "ConvTranspose": (
        [
            node("ConvTranspose", "x w b", strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 2], dilations=[1, 2]),
        ],
        {"w": floats(2, 3, 3, 2), "b": floats(3)},
        (2, 4, 3),
    ),
    "ConvTranspose groups": (
        [node("ConvTranspose", "x w", group=2, strides=[2, 2])],
        {"w": floats(4, 3, 2, 2)},
        (4, 3, 3),
    ),
    "ConvTranspose of sequences": ([node("ConvTranspose", "x w", strides=[3])], {"w": floats(2, 4, 2)}, (2, 5)),
}


@pytest.mark.parametrize("name", FORWARD)
def test_a_translated_model_gives_the_same_outputs(name: str) -> None:
    from accord.runtimes.onnx import session  # noqa: PLC0415 - after its telemetry is off

    nodes, tensors, size = FORWARD[name]
    model = forward(nodes, tensors, size)
    found = runner(tflite_model(model, ["x", "x"], ["o", "o"]), "predict")
    wanted = session(model.SerializeToString(), integers=False)
    for rows in (4, 1):
        x = floats(rows, *size, seed=rows)
        (expected,) = wanted.run(["o"], {"x": x})
        (outputs,) = found({"x": x}).values()
        assert outputs.shape == expected.shape
        assert np.allclose(outputs, expected, atol=1e-5), f"{rows} rows"


def test_every_translation_has_a_case() -> None:
    covered = {n.op_type for nodes, *_ in FORWARD.values() for n in nodes}
    for name in MODELS:
        covered |= {n.op_type for n in graph_of(name, "softmax")[0].model.graph.node}
    covered |= {n.op_type for n in graph_of("Gemm", "binary")[0].model.graph.node}
    assert set(known_translations()) - covered == {"Dropout"}


def test_an_operator_without_a_translation_is_named_with_its_node() -> None:
    model = forward([node("Acos", "x", name="block3/acos")], {}, (3,))
    with pytest.raises(UsageError, match=r"operator Acos \(node 'block3/acos'\) has no translation to TFLite"):
        tflite_model(model, ["x", "x"], ["o", "o"])


@pytest.mark.parametrize(
    ("nodes", "tensors", "size", "match"),
    [
        (
            [node("GatherElements", "x places", axis=1)],
            {"places": whole(1, 0).reshape(1, 2)},
            (4,),
            "takes several cells of a row",
        ),
        ([node("Einsum", "x w", equation="...i,ij->...j")], {"w": floats(4, 2)}, (4,), "write its axes out"),
        ([node("ArgMax", "x", select_last_index=1)], {}, (4,), "the last of equals"),
        ([node("Slice", "x a b")], {"a": whole(1), "b": whole(2)}, (4,), "a part of the batch"),
        ([node("MatMul", "x w")], {"w": floats(4)}, (4,), "takes a vector"),
        ([node("MaxPool", "x", kernel_shape=[2, 2], ceil_mode=1)], {}, (1, 5, 5), "ceil_mode"),
        ([node("Conv", "x w")], {"w": floats(2, 1, 2, 2, 2)}, (1, 3, 3, 3), "works on 3 spatial axes"),
    ],
)
def test_what_tflite_can_not_do_is_refused_by_name(
    nodes: list[onnx.NodeProto], tensors: dict[str, Array], size: tuple[int, ...], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        tflite_model(forward(nodes, tensors, size), ["x", "x"], ["o", "o"])


def test_axes_are_moved_only_where_an_operator_needs_it() -> None:
    """Between two convolutions an image stays as TFLite wants it, whatever lies between."""
    nodes = [
        node("Conv", "x v", "a"),
        node("Clip", "a low high", "b"),
        node("Mul", "b scale", "c"),
        node("MaxPool", "c", "d", kernel_shape=[2, 2]),
        node("Pad", "d pads", "e"),
        node("Concat", "e e", "f", axis=1),
        node("ReduceMean", "f spatial", "g"),
        node("Add", "f g", "h"),
        node("Conv", "h w"),
    ]
    tensors = {
        "v": floats(3, 2, 3, 3),
        "w": floats(2, 6, 2, 2),
        "low": np.float32(0),
        "high": np.float32(6),
        "scale": floats(3, 1, 1),
        "pads": whole(0, 0, 1, 0, 0, 0, 0, 1),
        "spatial": whole(2, 3),
    }
    found = operators(tflite_model(forward(nodes, tensors, (2, 8, 8)), ["x", "x"], ["o", "o"]))
    assert found["TRANSPOSE"] == 2, "one of x and one of the output"
    assert found["RELU6"] == 1
