"""Rules of layers: products, convolutions, pools, normalisations, Einsum."""

from typing import Any

import pytest

from accord.errors import UsageError
from quantize.differentiate.registry import known_operators
from quantize.network import read_network
from tests.quantize import test_rules_elementwise, test_rules_shapes
from tests.quantize.gradient_check import check_case
from tests.quantize.graphs import Case, dense, flat, model, node, weights


def conv_case(size: tuple[int, ...], filters: tuple[int, ...], **attributes: Any) -> Case:
    """Two convolutions, so that both dX and dW count, then a linear layer with as many inputs as come out."""
    channels = size[0]
    rank = len(size) - 1
    first = weights(channels, channels, *[1] * rank, seed=1)
    nodes = [
        node("Conv", "x first", "a"),
        node("Conv", "a w b", "c", **attributes),
        node("Tanh", "c", "t"),
        node("Flatten", "t", "f"),
        node("MatMul", "f last", "o"),
    ]
    tensors = {"first": first, "w": weights(*filters), "b": weights(filters[0])}
    return nodes, tensors, size


def spread_case(size: tuple[int, ...], filters: tuple[int, ...], **attributes: Any) -> Case:
    nodes, tensors, size = conv_case(size, filters, **attributes)
    nodes[1].op_type = "ConvTranspose"
    groups = attributes.get("group", 1)
    return nodes, {**tensors, "b": weights(filters[1] * groups)}, size


def pool(operator: str, size: tuple[int, ...] = (2, 7, 6), **attributes: Any) -> Case:
    return dense([node(operator, "h", "p", **attributes), node("Flatten", "p", "f")], {}, size)


def einsum(equation: str, size: tuple[int, ...], *shapes: tuple[int, ...]) -> Case:
    tensors = {f"w{place}": weights(*shape, seed=place) for place, shape in enumerate(shapes)}
    return flat([node("Einsum", " ".join(["h", *tensors]), "t", equation=equation)], tensors, size)


CASES: dict[str, Case] = {
    "Gemm": dense([node("Gemm", "h w b", "f")], {"w": weights(5, 4), "b": weights(4)}, (5,)),
    "Gemm transB alpha beta": dense(
        [node("Gemm", "h w b", "f", transB=1, alpha=0.5, beta=2.0)], {"w": weights(4, 5), "b": weights(1, 4)}, (5,)
    ),
    "Gemm transA": dense([node("Transpose", "h", "s"), node("Gemm", "s w", "f", transA=1)], {"w": weights(5, 4)}, (5,)),
    "Gemm transA transB": dense(
        [node("Transpose", "h", "s"), node("Gemm", "s w", "f", transA=1, transB=1)], {"w": weights(4, 5)}, (5,)
    ),
    "Gemm by weights first": dense(
        [node("Transpose", "h", "s"), node("Gemm", "w s", "t"), node("Transpose", "t", "f")],
        {"w": weights(4, 5)},
        (5,),
    ),
    "MatMul": dense([node("MatMul", "h w", "f")], {"w": weights(5, 4)}, (5,)),
    "MatMul of rows of matrices": dense(
        [node("MatMul", "h w", "m"), node("Flatten", "m", "f")], {"w": weights(4, 2)}, (3, 4)
    ),
    "MatMul by a stack": dense(
        [node("MatMul", "h w", "m"), node("Flatten", "m", "f")], {"w": weights(3, 4, 2)}, (3, 5, 4)
    ),
    "MatMul with itself": dense(
        [node("Transpose", "h", "s", perm=[0, 2, 1]), node("MatMul", "h s", "m"), node("Flatten", "m", "f")], {}, (3, 4)
    ),
    "MatMul weights left": dense([node("MatMul", "w h", "m"), node("Flatten", "m", "f")], {"w": weights(2, 3)}, (3, 4)),
    "Conv": conv_case((2, 6, 5), (3, 2, 3, 3)),
    "Conv strides that leave cells": conv_case((2, 8, 7), (3, 2, 3, 2), strides=[2, 3]),
    "Conv pads": conv_case((2, 5, 5), (3, 2, 3, 3), pads=[1, 2, 0, 1]),
    "Conv dilations": conv_case((2, 8, 9), (2, 2, 3, 2), dilations=[2, 3], strides=[1, 2], pads=[1, 1, 1, 1]),
    "Conv groups": conv_case((4, 6, 6), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    "Conv depthwise": conv_case((3, 7, 7), (3, 1, 3, 3), group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
    "Conv depthwise on a large map": conv_case((3, 12, 11), (3, 1, 3, 3), group=3, pads=[1, 1, 1, 1]),
    "Conv depthwise on a large map, strides": conv_case(
        (20, 13, 12), (20, 1, 3, 2), group=20, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 0, 1]
    ),
    "Conv depthwise on a wide map": conv_case((2, 3, 66), (2, 1, 3, 3), group=2, pads=[1, 1, 1, 1]),
    "Conv depthwise in one dimension": conv_case((3, 60), (3, 1, 5), group=3, strides=[2], pads=[2, 1], dilations=[2]),
    "Conv depthwise in three dimensions": conv_case((2, 4, 4, 4), (2, 1, 2, 3, 3), group=2, pads=[1, 1, 1, 0, 1, 1]),
    "Conv depthwise on a small map": conv_case((5, 6, 5), (5, 1, 3, 3), group=5, pads=[1, 1, 1, 1]),
    "Conv depthwise on a small map, strides": conv_case(
        (4, 8, 7), (4, 1, 3, 2), group=4, strides=[2, 3], dilations=[1, 2], pads=[2, 0, 1, 1]
    ),
    "Conv depthwise twice": conv_case(
        (3, 6, 7), (6, 1, 3, 2), group=3, strides=[1, 2], pads=[1, 0, 1, 1], dilations=[2, 1]
    ),
    "Conv many channels": conv_case((20, 5, 5), (4, 20, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    "Conv 1x1": conv_case((3, 4, 4), (5, 3, 1, 1)),
    "Conv 1x1 strides": conv_case((3, 5, 4), (5, 3, 1, 1), strides=[2, 2]),
    "Conv of sequences": conv_case((3, 12), (4, 3, 5), strides=[2], pads=[2, 1], dilations=[2]),
    "Conv same": conv_case((2, 5, 6), (2, 2, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv same lower": conv_case((2, 5, 6), (2, 2, 3, 2), auto_pad="SAME_LOWER", strides=[2, 1]),
    "MaxPool": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool with gaps": pool("MaxPool", kernel_shape=[2, 2], strides=[3, 2]),
    "MaxPool overlapping": pool("MaxPool", kernel_shape=[3, 2], strides=[1, 1]),
    "MaxPool pads": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool": pool("AveragePool", kernel_shape=[2, 3], strides=[2, 1]),
    "AveragePool pads": pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool pads counted": pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "GlobalAveragePool": pool("GlobalAveragePool"),
    "BatchNormalization": dense(
        [node("BatchNormalization", "h s b mean var", "n"), node("Flatten", "n", "f")],
        {"s": weights(2), "b": weights(2, seed=2), "mean": weights(2, seed=3), "var": weights(2, low=0.5, high=2.0)},
        (2, 3, 3),
    ),
    "ConvTranspose": spread_case((2, 4, 3), (2, 3, 3, 2)),
    "ConvTranspose strides": spread_case((2, 4, 3), (2, 3, 3, 2), strides=[2, 3], output_padding=[1, 2]),
    "ConvTranspose pads": spread_case((2, 4, 3), (2, 3, 3, 3), pads=[1, 0, 2, 1], strides=[2, 2]),
    "ConvTranspose dilations": spread_case((2, 4, 3), (2, 3, 3, 2), dilations=[2, 3]),
    "ConvTranspose groups": spread_case((4, 3, 3), (4, 3, 2, 2), group=2, strides=[2, 1]),
    "ConvTranspose depthwise": spread_case((3, 3, 3), (3, 1, 3, 3), group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
    "ConvTranspose many channels": spread_case((3, 3, 3), (3, 17, 2, 2), strides=[2, 2]),
    "ConvTranspose same": spread_case((2, 4, 3), (2, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "ConvTranspose to a shape": spread_case((2, 4, 3), (2, 3, 3, 3), output_shape=[8, 6], strides=[2, 2]),
    "ConvTranspose of sequences": spread_case((3, 6), (3, 2, 4), strides=[2], pads=[1, 1]),
    "MaxPool up": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "MaxPool up, pads": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 3], pads=[1, 1, 0, 0], ceil_mode=1),
    "MaxPool same": pool("MaxPool", kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    "MaxPool of sequences": pool("MaxPool", (2, 9), kernel_shape=[3], strides=[2], dilations=[2]),
    "AveragePool up": pool("AveragePool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "AveragePool same": pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    "AveragePool dilations": pool("AveragePool", kernel_shape=[2, 2], dilations=[2, 3]),
    "GlobalMaxPool": pool("GlobalMaxPool"),
    "GlobalMaxPool of sequences": dense([node("GlobalMaxPool", "h", "p"), node("Flatten", "p", "f")], {}, (3, 5)),
    "LayerNormalization": flat(
        [node("LayerNormalization", "h s b", "t")], {"s": weights(4), "b": weights(4, seed=2)}, (3, 4)
    ),
    "LayerNormalization two axes": flat(
        [node("LayerNormalization", "h s", "t", axis=-2, epsilon=1e-2)], {"s": weights(3, 4)}, (3, 4)
    ),
    "InstanceNormalization": flat(
        [node("InstanceNormalization", "h s b", "t")], {"s": weights(2), "b": weights(2, seed=2)}, (2, 3, 4)
    ),
    "LpNormalization": flat([node("LpNormalization", "h", "t", axis=1)], {}, (3, 4)),
    "LpNormalization p 1": flat([node("LpNormalization", "h", "t", p=1)], {}, (3, 4)),
    "Einsum product": einsum("nij,jk->nik", (3, 4), (4, 2)),
    "Einsum attention": einsum("nqhd,khd->nhqk", (3, 2, 4), (5, 2, 4)),
    "Einsum bilinear": einsum("ni,kij->njk", (4,), (3, 4, 2)),
    "Einsum of three": einsum("nij,jk,kl->nil", (3, 4), (4, 2), (2, 5)),
    "Einsum transpose": einsum("nij->nji", (3, 4)),
    "Einsum sum": einsum("nij->ni", (3, 4)),
    "Einsum sum of one operand": einsum("nij,kj->ni", (3, 4), (2, 4)),
    "Einsum without a result": einsum("aij,jk", (3, 4), (4, 2)),
    "Einsum dots": einsum("...j,jk->...k", (3, 4), (4, 2)),
    "Einsum outer": einsum("ni,k->nik", (3,), (4,)),
}


def test_every_rule_has_a_case() -> None:
    every = [*CASES.values(), *test_rules_elementwise.CASES.values(), *test_rules_shapes.CASES.values()]
    covered = {n.op_type for nodes, _, _ in every for n in nodes}
    # tests/quantize/test_straight_through.py has those that finite differences can't see.
    assert set(known_operators()) - {"QuantizeLinear", "DequantizeLinear"} <= covered


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *((name, "softmax") for name in CASES),
        *((name, loss) for name in ("Gemm", "Conv") for loss in ("binary", "mse", "huber")),
    ],
)
def test_gradients(name: str, loss: str) -> None:
    check_case(CASES[name], loss)


def test_an_average_that_counts_pads_and_rounds_up_is_named() -> None:
    case = pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1)
    with pytest.raises(UsageError, match="AveragePool 'the_AveragePool_p' counts pads and rounds sizes up"):
        check_case(case, "softmax")


def test_an_output_padding_that_no_runtime_takes_is_named() -> None:
    shape = (1, 2, 3, 3)
    nodes = [
        node("Mul", "x s", "h"),
        node("ConvTranspose", "h w", "c", dilations=[3, 3], output_padding=[2, 0], strides=[2, 2]),
        node("Flatten", "c", "f"),
        node("MatMul", "f last", "o"),
    ]
    tensors = {"s": weights(1, 3, 3), "w": weights(*shape), "last": weights(2 * 13 * 11, 3)}
    with pytest.raises(UsageError, match="ConvTranspose 'the_ConvTranspose_c' pads its output by a stride or more"):
        read_network(model(nodes, tensors, (1, 3, 3)), (1, 3, 3), "softmax")
