"""A pretrained net made int8, whose last blocks are fine-tuned: Magika, which tells kinds of files from their ends.

Devices show it pieces from the middle of files, which it was never trained on. Magika (Apache-2.0) comes with the PyPI
package of that name and is read from there; nothing of it is kept in this project.
"""

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.signing import SigningKey
from simulation.scenarios.fragments import PACKAGES, SIZE, fragments
from simulation.scenarios.scenario import Scenario

MODEL = Path("models") / "standard_v3_3"
WIDTH = 2_048
"""Numbers that Magika takes: the first 1,024 bytes of a file and the last."""
PADDING = 256
"""Where a file has no byte."""
TIER = "last-1"
CALIBRATED = 200
"""Rows of the first device from which the int8 grids of activations are taken."""


def pretrained(*, rows: int, batch_size: int) -> Scenario:
    """Return the scenario.

    Raises:
        UsageError: the package magika is not installed, or another version of it.
    """
    folder = _folder()
    data = fragments(PACKAGES, rows=rows)
    labels = sorted(set(data.y_train.tolist()))
    calibration = data.x_train[:CALIBRATED]

    def made(entropy: Entropy, key: SigningKey | None) -> bytes:
        from quantize import Choices, make_bundle  # noqa: PLC0415 - onnx is loaded only now

        with tempfile.TemporaryDirectory(prefix="accord-pretrained-") as scratch:
            path = Path(scratch) / "magika.onnx"
            path.write_bytes(for_pieces(folder, labels))
            choices = Choices(tier=TIER, rows=calibration, scaled=False)
            return make_bundle(str(path), (SIZE,), len(labels), "softmax", batch_size, entropy, key, choices)

    return Scenario(
        name="pretrained",
        model=f"Magika, int8 (tier {TIER})",
        data=data,
        said=f"{len(data.y_train):,} pieces of {SIZE} bytes from files of {len(set(data.c_train.tolist()))} packages"
        if data.c_train is not None
        else "",
        bundle=made,
        plain=made,
        plain_name="FedAvg without masks",
        before=True,
    )


def _folder() -> Path:
    spec = find_spec("magika")
    places = [] if spec is None else [Path(place) / MODEL for place in spec.submodule_search_locations or ()]
    for place in places:
        if (place / "model.onnx").is_file():
            return place
    raise UsageError("the scenario pretrained needs the package magika: pip install 'accord-fl[pretrained]'")


def for_pieces(folder: Path, labels: list[str]) -> bytes:
    """Return Magika as a model of pieces of `SIZE` bytes, float32 (N, SIZE), and logits of `labels`.

    Args:
        folder: with `model.onnx` and `config.min.json`.
        labels: names of kinds that Magika knows.

    Raises:
        UsageError: the model is another one than this function takes apart.
    """
    import onnx  # noqa: PLC0415 - loaded only now
    from onnx import helper, numpy_helper  # noqa: PLC0415 - the same

    model = onnx.load(folder / "model.onnx")
    space = json.loads((folder / "config.min.json").read_text())["target_labels_space"]
    graph, places = model.graph, [space.index(label) for label in labels]
    tensors = {item.name: item for item in graph.initializer}
    product = [node for node in graph.node if node.op_type == "MatMul"][-1]
    logits = next(node for node in graph.node if node.op_type == "Add" and product.output[0] in node.input)
    bias = next((name for name in logits.input if name in tensors), None)
    if bias is None or graph.input[0].name != "bytes":
        raise UsageError("this magika holds another model than 1.0.3 does: pip install magika==1.0.3")
    for name in (product.input[1], bias):
        kept = np.ascontiguousarray(numpy_helper.to_array(tensors[name])[..., places])
        tensors[name].CopyFrom(numpy_helper.from_array(kept, name))
    nodes = _needed(graph, logits.output[0])
    half = WIDTH // 2 - SIZE
    constants: dict[str, npt.NDArray[Any]] = {
        "ending": np.array([0, 0, 0, half], np.int64),
        "beginning": np.array([0, half, 0, 0], np.int64),
        "padding": np.array(PADDING, np.int32),
    }
    before = [
        helper.make_node("Cast", ["piece"], ["whole"], name="whole", to=onnx.TensorProto.INT32),
        helper.make_node("Pad", ["whole", "ending", "padding"], ["first"], name="first"),
        helper.make_node("Pad", ["whole", "beginning", "padding"], ["last"], name="last"),
        helper.make_node("Concat", ["first", "last"], ["bytes"], name="file", axis=1),
    ]
    used = {name for node in nodes for name in node.input}
    made = helper.make_graph(
        [*before, *nodes],
        "magika",
        [helper.make_tensor_value_info("piece", onnx.TensorProto.FLOAT, ["N", SIZE])],
        [helper.make_tensor_value_info(logits.output[0], onnx.TensorProto.FLOAT, ["N", len(labels)])],
        [
            *(item for item in graph.initializer if item.name in used),
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    opsets = [item for item in model.opset_import if item.domain == ""]
    data: bytes = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return data


def _needed(graph: Any, output: str) -> list[Any]:
    wanted, kept = {output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
