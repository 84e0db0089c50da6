"""Rules of operators that move, cut, join, repeat and look up."""

import numpy as np
import pytest

from accord.errors import UsageError
from quantize.differentiate.backward import training_graph
from quantize.network import read_network
from tests.quantize.gradient_check import check_case
from tests.quantize.graphs import Case, dense, flat, node, weights, whole, with_last


def cut(starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...], steps: tuple[int, ...]) -> Case:
    names = {"starts": whole(*starts), "ends": whole(*ends), "axes": whole(*axes), "steps": whole(*steps)}
    return flat([node("Slice", "h starts ends axes steps", "t")], names, (6, 5))


def padded(mode: str, *pads: int) -> Case:
    return flat([node("Pad", "h pads", "t", mode=mode)], {"pads": whole(*pads)}, (2, 4, 5))


def looked_up(indices: list[int] | int, axis: int) -> Case:
    return flat([node("Gather", "h i", "t", axis=axis)], {"i": np.array(indices)}, (4, 3))


def resized(size: tuple[int, ...], scales: list[float], **attributes: object) -> Case:
    return flat([node("Resize", "h _ s", "t", **attributes)], {"s": np.array(scales, np.float32)}, size)


FAR = 2**62
CASES: dict[str, Case] = {
    "Flatten": dense([node("Flatten", "h", "f")], {}, (2, 3)),
    "Reshape": dense(
        [node("Reshape", "h to", "r"), node("Flatten", "r", "f")], {"to": np.array([0, 3, 2], np.int64)}, (2, 3)
    ),
    "Reshape with the traced batch": dense([node("Reshape", "h to", "f")], {"to": np.array([-1, 6], np.int64)}, (2, 3)),
    "Squeeze and Unsqueeze": dense(
        [node("Unsqueeze", "h axes", "u"), node("Squeeze", "u axes", "f")], {"axes": np.array([1], np.int64)}, (4,)
    ),
    "Transpose": dense(
        [node("Transpose", "h", "s", perm=[0, 3, 1, 2]), node("Tanh", "s", "t"), node("Flatten", "t", "f")],
        {},
        (2, 3, 4),
    ),
    "Identity": flat([node("Identity", "h", "t")], {}, (4,)),
    "Expand": flat([node("Expand", "h to", "t")], {"to": whole(1, 3, 4)}, (3, 1)),
    "Expand rank": flat(
        [node("Mul", "h b", "m"), node("Expand", "s to", "e"), node("Add", "m e", "t")],
        {"b": weights(4), "s": weights(4, seed=3), "to": whole(3, 4)},
        (3, 4),
    ),
    "Concat": flat([node("Tanh", "h", "a"), node("Concat", "h a h", "t", axis=1)], {}, (2, 4)),
    "Concat of one that is trained": flat([node("Sign", "x", "k"), node("Concat", "k h k", "t", axis=-1)], {}, (2, 4)),
    "Split": flat(
        [node("Split", "h sizes", "a b c", axis=1), node("Sub", "a c", "d"), node("Mul", "d b", "t")],
        {"sizes": whole(1, 1, 1)},
        (3, 4),
    ),
    "Split uneven": flat(
        [node("Split", "h sizes", "a b", axis=-1), node("Concat", "b a b", "t", axis=2)], {"sizes": whole(3, 1)}, (2, 4)
    ),
    "Split by number": flat([node("Split", "h", "a b c", axis=1, num_outputs=3), node("Mul", "b a", "t")], {}, (6, 2)),
    "Split of which one is unused": flat([node("Split", "h", "a t", axis=1, num_outputs=2)], {}, (4,)),
    "Slice": cut((1, 0), (4, 3), (1, 2), (1, 1)),
    "Slice from the end": cut((-4,), (-1,), (-2,), (1,)),
    "Slice steps": cut((1, 0), (FAR, 4), (1, 2), (2, 3)),
    "Slice backwards": cut((-1, 3), (-FAR, 0), (1, 2), (-1, -2)),
    "Slice of all rows": cut((0, 1), (FAR, 3), (0, 1), (1, 1)),
    "Pad": padded("constant", 0, 1, 0, 2, 0, 0, 2, 1),
    "Pad that cuts": flat(
        [node("Pad", "h pads two", "t")], {"pads": whole(0, 1, -1, 0, 0, 2), "two": np.float32(2)}, (2, 4)
    ),
    "Pad reflect": padded("reflect", 0, 0, 2, 1, 0, 0, 1, 3),
    "Pad edge": padded("edge", 0, 1, 2, 1, 0, 0, 1, 3),
    "Pad wrap": padded("wrap", 0, 0, 1, 2, 0, 0, 0, 1),
    "Pad axes": flat([node("Pad", "h pads _ axes", "t")], {"pads": whole(1, 2), "axes": whole(-1)}, (2, 4)),
    "Tile": flat([node("Tile", "h r", "t")], {"r": whole(1, 2, 3)}, (2, 4)),
    "Gather": looked_up([2, 0, -1], 1),
    "Gather one": looked_up(-1, 1),
    "Gather one of the last axis": looked_up(0, 2),
    "Gather twice": looked_up([1, 1, 3, -3], 1),
    "Gather the last axis twice": looked_up([1, 1, 0], -1),
    "Gather rows of a table": flat(
        [node("Gather", "table i", "g"), node("Mul", "g h", "t")],
        {"table": weights(5, 4), "i": np.array([[1, -1, 1], [0, 4, 2]])},
        (2, 3, 4),
    ),
    "GatherElements": flat(
        [node("Mul", "table h", "m"), node("GatherElements", "table i", "g", axis=1), node("Add", "m g", "t")],
        {"table": weights(3, 4), "i": np.array([[1, 1, 0, -1]] * 3)},
        (3, 4),
    ),
    "GatherND": flat(
        [node("GatherND", "table i", "g"), node("Mul", "g h", "t")],
        {"table": weights(3, 4), "i": np.array([[0, 1], [2, -1], [0, 1]])},
        (3,),
    ),
    "SpaceToDepth": flat([node("SpaceToDepth", "h", "t", blocksize=2)], {}, (3, 4, 6)),
    "DepthToSpace": flat([node("DepthToSpace", "h", "t", blocksize=2)], {}, (8, 2, 3)),
    "DepthToSpace CRD": flat([node("DepthToSpace", "h", "t", blocksize=2, mode="CRD")], {}, (8, 2, 3)),
    "Resize nearest": resized(
        (2, 3, 4), [1, 1, 2, 3], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    ),
    "Resize nearest one axis": resized((2, 3, 4), [1, 1, 1, 2], mode="nearest"),
    "Resize nearest smaller": resized((2, 4, 4), [1, 1, 0.5, 0.5], mode="nearest"),
    "Resize linear": resized((2, 3, 4), [1, 1, 2, 2], mode="linear"),
    "Resize linear corners": flat(
        [node("Resize", "h _ _ to", "t", mode="linear", coordinate_transformation_mode="align_corners", axes=[2, 3])],
        {"to": whole(5, 7)},
        (2, 3, 4),
    ),
    "Resize cubic": resized((2, 4, 5), [1, 1, 2, 2], mode="cubic", cubic_coeff_a=-0.5),
    "Resize of sequences": resized((2, 5), [1, 1, 2], mode="nearest"),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    check_case(CASES[name], "softmax")


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        (
            flat([node("Gather", "h i", "g"), node("Add", "h g", "t")], {"i": np.array([0])}, (4,)),
            "Gather 'the_Gather_g' works along the rows of a batch",
        ),
        (
            flat([node("Slice", "h a b", "g"), node("Add", "h g", "t")], {"a": whole(1), "b": whole(2)}, (4,)),
            "Slice 'the_Slice_g' works along the rows of a batch",
        ),
        (flat([node("Einsum", "h", "t", equation="nii->ni")], {}, (4, 4)), "takes a diagonal"),
        (
            flat(
                [node("Resize", "h roi s", "t", coordinate_transformation_mode="tf_crop_and_resize")],
                {"roi": np.array([0, 0, 1, 1], np.float32), "s": np.array([1, 2], np.float32)},
                (4,),
            ),
            "crops",
        ),
    ],
)
def test_what_can_not_be_trained_is_named(case: Case, sentence: str) -> None:
    nodes, tensors, size = case
    with pytest.raises(UsageError, match=sentence):
        training_graph(read_network(with_last(nodes, tensors, size), size, "softmax"), "softmax")
