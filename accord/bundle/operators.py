"""What a training graph may hold: plain `ai.onnx` operators from one list, found by walking the protobuf bytes.

The walk needs no `onnx` on the device. It knows the fields of onnx.proto3 (IR 9) that `quantize` writes and refuses
every other: functions, subgraphs, sparse or external tensors, custom domains, unknown fields.
"""

from typing import NoReturn

from accord.bundle.protobuf import read_fields
from accord.errors import Refusal

ALLOWED = frozenset(
    """
    Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv
    ConvTranspose Cos DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish
    Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
    MatMul Max MaxPool MaxUnpool Mean Min Mish Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Resize
    Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where
    """.split(),  # noqa: SIM905 - a hundred quoted words are harder to read
)

# Field numbers of onnx.proto3 that may occur, each with the message it holds ("" for a leaf).
_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {1: "", 2: "", 3: "", 4: "", 5: "", 6: "", 7: "Graph", 8: "Opset"},
    "Opset": {1: "domain", 2: ""},
    "Graph": {1: "Node", 2: "", 5: "Tensor", 10: "", 11: "", 12: "", 13: ""},
    "Node": {1: "", 2: "", 3: "", 4: "operator", 5: "Attribute", 6: "", 7: "domain"},
    "Attribute": {1: "", 2: "", 3: "", 4: "", 5: "Tensor", 7: "", 8: "", 9: "", 13: "", 20: ""},
    "Tensor": {1: "", 2: "", 4: "", 5: "", 7: "", 8: "", 9: "", 10: "", 11: "", 12: ""},
}
_EXTERNAL = {13, 14}


def _refuse(reason: str, detail: str) -> NoReturn:
    raise Refusal(reason, detail)


def _walk(data: memoryview, message: str) -> int:
    """Check one message and what it holds; return the number of nodes seen."""
    known = _MESSAGES[message]
    nodes = int(message == "Node")
    for number, _, content in read_fields(data):
        if message == "Tensor" and number in _EXTERNAL:
            _refuse("ExternalData", "a tensor of train.onnx lies in another file")
        if number not in known:
            _refuse("ForbiddenGraph", f"train.onnx holds field {number} of {message}, which a training graph has not")
        inner = known[number]
        if inner in _MESSAGES:
            nodes += _walk(content, inner)
        elif inner == "operator" and bytes(content).decode("utf-8", "replace") not in ALLOWED:
            name = bytes(content[:80]).decode("utf-8", "replace")
            _refuse("ForbiddenOperator", f"operator {name!r} is not on the list for training graphs")
        elif inner == "domain" and bytes(content) not in (b"", b"ai.onnx"):
            name = bytes(content[:80]).decode("utf-8", "replace")
            _refuse("ForbiddenDomain", f"operators of domain {name!r} are not plain ONNX")
    return nodes


def check_operators(train: bytes) -> int:
    """Check that `train` holds nothing but listed operators; return the number of nodes.

    Raises:
        Refusal: `ForbiddenOperator`, `ForbiddenDomain`, `ForbiddenGraph`, `ExternalData` or `CorruptGraph`.
    """
    nodes = _walk(memoryview(train), "Model")
    if not nodes:
        raise Refusal("CorruptGraph", "train.onnx holds no operator")
    return nodes
