"""A bundle whose `.tflite` graph turns kernels over two axes at once: legal, but wrong in tflite-runtime 2.14."""

from typing import Any

from accord.bundle.archive import Bundle, write_bundle
from accord.entropy import SeededEntropy

NAME = "trap"


def trapped() -> bytes:
    """Return the bytes of a bundle of cnn:small with golden vectors that are right, and such a graph."""
    from quantize.making import Choices, make  # noqa: PLC0415 - not everywhere

    bundle = make("cnn:small", (1, 8, 8), 4, "softmax", 8, SeededEntropy(2), None, Choices(tflite=True)).bundle
    return rewritten(bundle, two_axes(bundle.tflite or b""))


def rewritten(bundle: Bundle, tflite: bytes) -> bytes:
    return write_bundle(bundle.manifest, params=bundle.params, golden=bundle.golden, train=bundle.train, tflite=tflite)


def two_axes(model: bytes) -> bytes:
    """Let each kernel that is turned as one line of taps be turned over its height and width instead."""
    import flatbuffers  # noqa: PLC0415 - the same

    from quantize.tflite.packing import IDENTIFIER, load_schema  # noqa: PLC0415 - the same

    schema = load_schema()
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    code = schema.BuiltinOperator.REVERSE_V2
    changed = 0
    for graph in tree.subgraphs:
        made = {operator.outputs[0]: operator for operator in graph.operators}
        read = {place: operator for operator in graph.operators for place in operator.inputs}
        for operator in graph.operators:
            if tree.operatorCodes[operator.opcodeIndex].builtinCode != code:
                continue
            kernel = list(graph.tensors[read[operator.outputs[0]].outputs[0]].shape)
            before = made[operator.inputs[0]]
            graph.tensors[before.outputs[0]].shape = kernel
            graph.tensors[operator.outputs[0]].shape = kernel
            before.builtinOptions.newShape = kernel
            before.inputs = [before.inputs[0], _constant(schema, tree, graph, kernel)]
            operator.inputs = [operator.inputs[0], _constant(schema, tree, graph, [1, 2])]
            changed += 1
    assert changed, "the model turns no kernel"
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _constant(schema: Any, tree: Any, graph: Any, values: list[int]) -> int:
    import numpy as np  # noqa: PLC0415 - the same

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)
    tree.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.hasRank = "", [len(values)], True
    tensor.type, tensor.buffer = schema.TensorType.INT32, len(tree.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
