"""An operator without a rule: it is named with its node, and with the least that has to be frozen for the rest."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes import open_runtime
from quantize.differentiate import registry
from quantize.differentiate.backward import training_graph
from quantize.differentiate.tape import Tape
from quantize.freezing import frozen_before
from quantize.making import Choices, make
from quantize.network import read_network
from tests.quantize.gradient_check import check_network
from tests.quantize.graphs import forward, model, node, weights


def rounded_model() -> onnx.ModelProto:
    """Two blocks, of which the second begins with a Round; a skip keeps the tensors in between from being cuts."""
    nodes = [
        node("MatMul", "x w1", "a"),
        node("Tanh", "a", "b"),
        node("MatMul", "b w2", "c"),
        node("Round", "c", "d"),
        node("Add", "d b", "e"),
        node("MatMul", "e w3", "f"),
        node("Tanh", "f", "g"),
        node("MatMul", "g w4", "o"),
    ]
    tensors = {"w1": weights(3, 4), "w2": weights(4, 4, high=3), "w3": weights(4, 4, seed=2), "w4": weights(4, 3)}
    return model(nodes, tensors, (3,))


def test_the_error_names_the_first_tensor_behind_which_everything_trains() -> None:
    network = read_network(rounded_model(), (3,), "softmax")
    with pytest.raises(UsageError, match=r"operator Round \(node 'the_Round_d'\).*behind tensor 'e' can be trained"):
        training_graph(network, "softmax")


def test_what_it_offers_trains() -> None:
    network = frozen_before(read_network(rounded_model(), (3,), "softmax"), "e")
    assert list(network.params) == ["w3", "w4"]
    x, outputs = check_network(network, "softmax")
    assert np.allclose(outputs, forward(rounded_model(), x), atol=1e-6)


def test_a_bundle_of_the_rest(tmp_path: Path) -> None:
    onnx.save(rounded_model(), tmp_path / "m.onnx")
    made = make(str(tmp_path / "m.onnx"), (3,), 3, "softmax", 8, SeededEntropy(0), choices=Choices(freeze_before="e"))
    bundle = read_bundle(made.data)
    assert [name for name, _ in bundle.manifest.layout.tensors] == ["w3", "w4"]
    x = weights(5, 3)
    assert np.allclose(open_runtime(bundle).predict(bundle.params, x), forward(rounded_model(), x), atol=1e-6)


def test_a_weight_on_both_sides_is_frozen() -> None:
    nodes = [node("MatMul", "x w", "a"), node("Tanh", "a", "b"), node("MatMul", "b w", "c"), node("Add", "c v", "o")]
    network = read_network(model(nodes, {"w": weights(3, 3), "v": weights(3)}, (3,)), (3,), "softmax")
    assert list(frozen_before(network, "b").params) == ["v"]


@pytest.mark.parametrize(("cut", "sentence"), [("d", "freeze before one of x, a, b, e"), ("o", "nothing would be")])
def test_a_tensor_that_is_no_cut_is_refused(cut: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        frozen_before(read_network(rounded_model(), (3,), "softmax"), cut)


def test_where_nothing_trains_the_error_stays_as_it_is() -> None:
    nodes = [node("MatMul", "x w", "a"), node("Round", "a", "o")]
    with pytest.raises(UsageError, match=r"nothing before it can be trained$"):
        training_graph(read_network(model(nodes, {"w": weights(3, 3)}, (3,)), (3,), "softmax"), "softmax")


def test_a_rule_of_your_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the registry says: a function under `@rule`, in any module that is imported before."""
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    @registry.rule("Round")
    def straight_through(_tape: Tape, _node: onnx.NodeProto, slope: str) -> dict[int, str]:
        return {0: slope}

    graph = training_graph(read_network(rounded_model(), (3,), "softmax"), "softmax")
    assert [name.removeprefix("grad/") for name in graph.output_names[3:]] == ["w1", "w2", "w3", "w4"]
