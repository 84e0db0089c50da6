"""Golden vectors of a deep net that rounds its activations: right runtimes agree, a slightly wrong one does not."""

import importlib.util
from typing import Any

import numpy as np
import onnx
import pytest

from accord.bundle.archive import Bundle, read_bundle, write_bundle
from accord.entropy import SeededEntropy
from accord.errors import CodecError, Refusal
from accord.runtimes import check_golden, open_runtime
from accord.runtimes.onnx import OnnxRuntime, session
from accord.runtimes.opening import PACKAGES
from quantize import Choices, make_bundle

SHAPE = (3, 32, 32)
INSTALLED = [name for name in ("onnx", "litert") if importlib.util.find_spec(PACKAGES[name]) is not None]


def made(seed: int, *, fixed: bool) -> Bundle:
    rows = np.random.default_rng(seed).normal(size=(64, *SHAPE)).astype(np.float32)
    choices = Choices(tier="last-all", rows=rows, tflite="litert" in INSTALLED, train_scales=not fixed)
    return read_bundle(make_bundle("mobilenet:10", SHAPE, 4, "softmax", 8, SeededEntropy(seed), None, choices))


@pytest.fixture(scope="module", params=[(0, False), (1, True)], ids=["trained scales", "fixed scales"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return made(request.param[0], fixed=request.param[1])


class Shaky(OnnxRuntime):
    """A right runtime with other last bits: everything it reads is off by about 1e-7."""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        super().__init__(bundle)
        self._rng = np.random.default_rng(seed)

    def gradients(self, params: Any, x: Any, y: Any, out: Any = None, weights: Any = None) -> Any:
        return super().gradients(self._off(params), self._off(x), y, out, weights)

    def predict(self, params: Any, x: Any) -> Any:
        return super().predict(self._off(params), self._off(x))

    def _off(self, values: Any) -> Any:
        return (values * (1 + 1e-7 * self._rng.standard_normal(values.shape))).astype(np.float32)


def test_right_runtimes_agree_to_the_last_digits(bundle: Bundle) -> None:
    for name in INSTALLED:
        assert check_golden(open_runtime(bundle, name), bundle) < 2e-5


def test_a_runtime_with_other_last_bits_may_train(bundle: Bundle) -> None:
    for seed in range(3):
        assert check_golden(Shaky(bundle, seed), bundle) < 1e-4


def test_no_value_lies_where_a_rounding_turns(bundle: Bundle) -> None:
    """Of each depthwise and pointwise convolution, before and after: the first is what the parameters are moved for.

    Behind the first small map there are two of each: one form of the network is trained, the other predicts.
    """
    x, _ = bundle.golden.examples(bundle.manifest)
    before, after = nearest(bundle, bundle.params, x), nearest(bundle, bundle.golden.params(bundle.params), x)
    assert len(after) == 27 + 20
    assert min(after.values()) > 2e-4
    assert min(before.values()) < min(after.values()) / 5


def nearest(bundle: Bundle, params: Any, x: Any) -> dict[str, float]:
    """How near each ReLU6's values come to the middle of two steps, in steps."""
    assert bundle.train is not None
    model = onnx.load_from_string(bundle.train)
    rounded = {node.input[0]: node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    rounded = {name: scale for name, scale in rounded.items() if name.endswith(".relu6")}
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    names = [*rounded, *(scale for scale in rounded.values() if scale not in constants)]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    views = dict(zip(bundle.manifest.tensor_names, bundle.manifest.layout.views(params).values(), strict=True))
    y = np.zeros(len(x), np.int64)
    feeds = {**dict(zip(bundle.manifest.input_names, (x, y, np.ones(len(x), np.float32)), strict=False)), **views}
    found = dict(zip(names, session(model.SerializeToString(), integers=False).run(names, feeds), strict=True))
    gaps = {}
    for name, scale in rounded.items():
        steps = found[name] / found.get(scale, constants.get(scale))
        alive = steps[(steps > 0) & (found[name] < 6)]
        gaps[name] = float(np.abs(alive - np.floor(alive) - 0.5).min())
    return gaps


def with_fault(bundle: Bundle, place: int, factor: float) -> Bundle:
    """The bundle with a graph that gives the output of one of its nodes too large."""
    assert bundle.train is not None
    model = onnx.load_from_string(bundle.train)
    node = model.graph.node[place]
    name = node.output[0]
    node.output[0] = f"{name}/right"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(factor, np.float32), "fault"))
    model.graph.node.insert(place + 1, onnx.helper.make_node("Mul", [f"{name}/right", "fault"], [name]))
    return rewritten(bundle, model)


def rewritten(bundle: Bundle, model: onnx.ModelProto) -> Bundle:
    data = write_bundle(
        bundle.manifest,
        params=bundle.params,
        golden=bundle.golden,
        train=model.SerializeToString(),
        tflite=bundle.tflite,
        infer=bundle.infer,
        quantization=bundle.quantization,
    )
    return read_bundle(data)


def places(bundle: Bundle, operator: str) -> list[int]:
    assert bundle.train is not None
    nodes = onnx.load_from_string(bundle.train).graph.node
    return [place for place, node in enumerate(nodes) if node.op_type == operator]


@pytest.mark.parametrize("factor", [1.001, 0.99], ids=["0.1 %", "1 %"])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "Gemm"])
def test_a_kernel_that_is_slightly_wrong_is_refused_with_both_numbers(
    bundle: Bundle, operator: str, factor: float
) -> None:
    found = places(bundle, operator)
    assert found
    for place in (found[0], found[len(found) // 2], found[-1]):
        wrong = with_fault(bundle, place, factor)
        with pytest.raises(Refusal, match=r"came out as [-\d.e]+ where the bundle says [-\d.e]+") as caught:
            check_golden(open_runtime(wrong, "onnx"), wrong)
        assert caught.value.reason == "GoldenMismatch"


def test_a_kernel_turned_the_wrong_way_round_is_refused(bundle: Bundle) -> None:
    """What the one wrong kernel that was met in the field does: slopes of a layer run through a turned kernel."""
    assert bundle.train is not None
    model = onnx.load_from_string(bundle.train)
    place = next(p for p in places(bundle, "ConvTranspose") if "depthwise" in model.graph.node[p].input[1])
    node = model.graph.node[place]
    ends = [
        onnx.numpy_helper.from_array(np.array(v, np.int64), n)
        for n, v in (("fault/from", [-1, -1]), ("fault/to", [-99, -99]), ("fault/axes", [2, 3]), ("fault/by", [-1, -1]))
    ]
    model.graph.initializer.extend(ends)
    turned = onnx.helper.make_node("Slice", [node.input[1], *(item.name for item in ends)], ["fault/turned"])
    node.input[1] = "fault/turned"
    model.graph.node.insert(place, turned)
    wrong = rewritten(bundle, model)
    with pytest.raises(Refusal, match=r"the gradient of '[\w./]+' came out as [-\d.e]+ where the bundle says"):
        check_golden(open_runtime(wrong, "onnx"), wrong)


def test_a_golden_parameter_outside_the_vector_is_refused(bundle: Bundle) -> None:
    with pytest.raises(CodecError, match="outside the parameters"):
        bundle.golden.params(bundle.params[:10].copy())
