"""Gradient of Resize in every mode, axis by axis."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from accord.errors import UsageError
from quantize.differentiate.along import times
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute
from quantize.network import IR_VERSION, OPSET


@rule("Resize")
def resize(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Along each axis Y = M·X with a matrix M that follows from mode and sizes: dX = Mᵀ·dY.

    Nearest by a whole factor repeats each cell, so dX is the sum over blocks of dY: an average times its cells.
    """
    x, rank = node.input[0], len(tape.shape(node.input[0]))
    before, after = tape.shape(x), tape.shape(node.output[0])
    if bytes(attribute(node, "coordinate_transformation_mode", b"half_pixel")) == b"tf_crop_and_resize":
        raise UsageError(
            f"Resize {node.name!r} crops (tf_crop_and_resize): cut with a Slice and resize with half_pixel"
        )
    changed = [axis for axis in range(rank) if before[axis] != after[axis]]
    matrices = {}
    for axis in changed:
        size, length = before[axis], after[axis]
        if size is None or length is None:
            raise UsageError(
                f"Resize {node.name!r}: axis {axis} has no fixed size: export the model with static shapes"
            )
        scales = tape.fixed(node.input[2], node).reshape(-1) if len(node.input) > 2 and node.input[2] else None
        matrices[axis] = resizing_matrix(node, axis, rank, (size, length), scales)
    factors = {axis: matrix.shape[0] // matrix.shape[1] for axis, matrix in matrices.items()}
    if rank == 4 and set(changed) == {2, 3} and all(_repeats(matrices[a], factors[a]) for a in changed):
        block = [factors[2], factors[3]]
        mean = tape.add("AveragePool", slope, kernel_shape=block, strides=block)
        return {0: tape.add("Mul", mean, tape.number(block[0] * block[1]))}
    for axis in changed:
        slope = times(tape, slope, matrices[axis], axis, rank)
    return {0: slope}


def resizing_matrix(
    node: onnx.NodeProto, axis: int, rank: int, sizes: tuple[int, int], scales: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    """Return M, float32 (length, size): what the operator makes of each unit vector, told by ONNX's own reference.

    Args:
        node: a Resize.
        axis: along which M works.
        rank: of the tensor.
        sizes: size and length: cells before and after.
        scales: the node's, if it has them.
    """
    size, length = sizes
    if bytes(attribute(node, "keep_aspect_ratio_policy", b"stretch")) != b"stretch":
        raise UsageError(f"Resize {node.name!r} keeps the aspect ratio: export it with the sizes that come out")
    named = [int(a) % rank for a in attribute(node, "axes", list(range(rank)))]
    scaled = scales is not None and scales.size > 0
    given = {"scales": np.array([scales[named.index(axis)], 1.0], np.float32)} if scales is not None and scaled else {}
    wished = {} if scaled else {"sizes": np.array([length, size], np.int64)}
    helper, kinds = onnx.helper, onnx.TensorProto
    alone = helper.make_node("Resize", ["x", "", *(given or [""]), *wished], ["y"])
    alone.attribute.extend(item for item in node.attribute if item.name not in ("axes", "keep_aspect_ratio_policy"))
    graph = helper.make_graph(
        [alone],
        "resize",
        [helper.make_tensor_value_info("x", kinds.DOUBLE, [size, size])],
        [helper.make_tensor_value_info("y", kinds.DOUBLE, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in (given | wished).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    (found,) = ReferenceEvaluator(model).run(None, {"x": np.eye(size)})
    return np.asarray(found, np.float32)


def _repeats(matrix: npt.NDArray[Any], factor: int) -> bool:
    return bool(np.array_equal(matrix, np.repeat(np.eye(matrix.shape[1]), factor, axis=0)))
