"""The golden self-test against a real runtime that computes a legal operator wrongly, and says nothing."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.errors import Refusal
from accord.runtimes import check_golden, open_runtime
from tests.runtimes import bundles, trap

INSTALLED = [name for name in ("litert", "tflite") if importlib.util.find_spec(bundles.PACKAGES[name]) is not None]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    if bundles.FOLDER:
        return read_bundle((Path(bundles.FOLDER) / f"{trap.NAME}.bundle").read_bytes())
    return read_bundle(trap.trapped())


@pytest.mark.parametrize("name", INSTALLED)
def test_a_runtime_that_computes_a_legal_graph_wrongly_may_not_train(bundle: Bundle, name: str) -> None:
    runtime = open_runtime(bundle, name)
    x, y = bundle.golden.examples(bundle.manifest)
    loss, gradient = runtime.gradients(bundle.params, x, y)
    assert loss == pytest.approx(bundle.golden.expected(bundle.manifest)[0], rel=1e-5), "the loss shows nothing"
    assert np.isfinite(gradient).all()
    if name == "litert":
        assert check_golden(runtime, bundle) < 1e-5
        return
    with pytest.raises(
        Refusal, match=r"gradient of 'conv1.weight' came out as [-\d.e]+ where the bundle says [-\d.e]+"
    ):
        check_golden(runtime, bundle)
