"""The bundles that every runtime is asked with: built-in models, nets of every kind of window, and rounded tiers.

An environment without `onnx` reads what another wrote: `python -m tests.runtimes.bundles FOLDER`, and then the tests
with ACCORD_BUNDLES=FOLDER.
"""

import functools
import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SeededEntropy
from accord.runtimes.opening import PACKAGES
from tests.runtimes import trap

BATCH = 16
FOLDER = os.environ.get("ACCORD_BUNDLES", "")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bundle: `model` is a built-in one, or `depthwise` or `windows`."""

    model: str
    shape: tuple[int, ...]
    outputs: int
    loss: str
    tier: str = "float"

    @property
    def name(self) -> str:
        return f"{self.model} {self.loss} {self.outputs} {self.tier}"

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Those that are installed here and can train it."""
        dense = self.model.partition(":")[0] in ("linear", "mlp") and self.tier == "float"
        found = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is not None]
        return (*(["reference"] if dense else []), *found)


CASES = (
    Case(model="linear", shape=(5,), outputs=3, loss="softmax"),
    Case(model="mlp:8,6", shape=(2, 3), outputs=4, loss="softmax"),
    Case(model="linear", shape=(5,), outputs=1, loss="binary"),
    Case(model="mlp:7", shape=(5,), outputs=2, loss="binary"),
    Case(model="mlp:7", shape=(5,), outputs=1, loss="mse"),
    Case(model="linear", shape=(4,), outputs=2, loss="mse"),
    Case(model="mlp:7", shape=(5,), outputs=1, loss="huber"),
    Case(model="linear", shape=(4,), outputs=2, loss="huber"),
    Case(model="cnn:small", shape=(1, 8, 8), outputs=10, loss="softmax"),
    Case(model="cnn:small", shape=(3, 17, 16), outputs=2, loss="binary"),
    Case(model="cnn:medium", shape=(1, 8, 8), outputs=3, loss="softmax"),
    Case(model="depthwise", shape=(3, 14, 13), outputs=4, loss="softmax"),
    Case(model="depthwise", shape=(3, 14, 13), outputs=1, loss="mse"),
    Case(model="windows", shape=(4, 11, 10), outputs=3, loss="softmax"),
    Case(model="cnn:small", shape=(1, 8, 8), outputs=10, loss="softmax", tier="last-all"),
    Case(model="cnn:small", shape=(1, 8, 8), outputs=10, loss="softmax", tier="head"),
    Case(model="depthwise", shape=(3, 14, 13), outputs=4, loss="softmax", tier="last-2"),
    Case(model="cnn:small", shape=(1, 8, 8), outputs=10, loss="softmax", tier="int8"),
    Case(model="mlp:7", shape=(5,), outputs=1, loss="mse", tier="int8"),
)


@functools.cache
def bundle_of(case: Case) -> Bundle:
    """Return the case's bundle, with a graph for onnxruntime and one for TFLite."""
    if FOLDER:
        return read_bundle((Path(FOLDER) / f"{case.name}.bundle").read_bytes())
    return read_bundle(made(case))


def made(case: Case) -> bytes:
    """Make the case's bundle; a float one is the same each time."""
    from quantize import Choices, make_bundle  # noqa: PLC0415 - not everywhere

    rows = np.random.default_rng(11).standard_normal((40, *case.shape)).astype(np.float32)
    choices = Choices(tier=case.tier, tflite=True, rows=None if case.tier == "float" else rows)
    with tempfile.TemporaryDirectory() as folder:
        model = case.model
        if model in NETS:
            import onnx  # noqa: PLC0415 - the same

            model = f"{folder}/{case.model}.onnx"
            onnx.save(NETS[case.model](case), model)
        return make_bundle(model, case.shape, case.outputs, case.loss, BATCH, SeededEntropy(7), None, choices)


class _Net:
    """A chain of nodes with drawn weights."""

    def __init__(self, case: Case) -> None:
        import onnx  # noqa: PLC0415 - the same

        self.onnx, self.case, self.channels = onnx, case, case.shape[0]
        self.rng = np.random.default_rng(5)
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self.end = "x"

    def add(self, operator: str, *tensors: str, **attributes: Any) -> None:
        name = f"{operator}{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, [self.end, *tensors], [name], name=name, **attributes))
        self.end = name

    def weights(self, name: str, *shape: int) -> str:
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2
        self.tensors[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        return name

    def conv(self, filters: int, size: tuple[int, int], group: int = 1, **attributes: Any) -> None:
        place = len(self.nodes)
        weight = self.weights(f"conv{place}.weight", filters, self.channels // group, *size)
        bias = self.weights(f"conv{place}.bias", filters)
        self.add("Conv", weight, bias, group=group, **attributes)
        self.channels = filters

    def relu6(self) -> None:
        self.tensors["zero"], self.tensors["six"] = np.float32(0), np.float32(6)
        self.add("Clip", "zero", "six")

    def model(self) -> Any:
        self.add("GlobalAveragePool")
        self.add("Flatten")
        weight = self.weights("head.weight", self.case.outputs, self.channels)
        self.add("Gemm", weight, self.weights("head.bias", self.case.outputs), transB=1)
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", kind, ["N", *self.case.shape])],
            [helper.make_tensor_value_info(self.end, kind, ["N", self.case.outputs])],
            [self.onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in self.tensors.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _depthwise(case: Case) -> Any:
    """Depthwise and pointwise convolutions by turns, with strides that leave cells, pads, and ReLU6."""
    net = _Net(case)
    net.conv(8, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    net.relu6()
    for filters, stride in ((12, 1), (10, 2)):
        net.conv(net.channels, (3, 3), group=net.channels, strides=[stride, stride], pads=[1, 1, 1, 1])
        net.relu6()
        net.conv(filters, (1, 1))
        net.relu6()
    net.conv(2 * net.channels, (2, 3), group=net.channels, pads=[0, 1, 1, 0])
    net.relu6()
    return net.model()


def _windows(case: Case) -> Any:
    """Groups, dilations, uneven pads, and pools that overlap, leave gaps and have borders."""
    net = _Net(case)
    net.conv(6, (3, 2), group=2, pads=[1, 0, 2, 1])
    net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1])
    net.add("Tanh")
    net.conv(6, (2, 2), dilations=[2, 3], strides=[1, 2], pads=[1, 2, 1, 1])
    net.add("LeakyRelu", alpha=0.1)
    net.add("AveragePool", kernel_shape=[2, 3], strides=[1, 2], pads=[1, 1, 0, 1])
    net.add("MaxPool", kernel_shape=[2, 1], strides=[3, 2])
    return net.model()


NETS = {"depthwise": _depthwise, "windows": _windows}


def main(folder: Path) -> None:
    """Write every case's bundle, and the one that tflite-runtime must refuse."""
    for case in CASES:
        (folder / f"{case.name}.bundle").write_bytes(made(case))
    (folder / f"{trap.NAME}.bundle").write_bytes(trap.trapped())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
