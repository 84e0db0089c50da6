"""Gradients that onnxruntime writes where they belong: each vector gets its own, and none overwrites the weights."""

import numpy as np
import pytest

from accord.bundle.archive import Bundle
from accord.errors import UsageError
from accord.runtimes import Runtime, open_runtime
from tests.runtimes.bundles import CASES, bundle_of
from tests.runtimes.test_contract import raw_rows


@pytest.fixture
def bundle() -> Bundle:
    return bundle_of(next(case for case in CASES if "onnx" in case.runtimes and bundle_of(case).quantization is None))


@pytest.fixture
def runtime(bundle: Bundle) -> Runtime:
    return open_runtime(bundle, "onnx")


def test_vectors_that_take_turns_keep_what_was_theirs(bundle: Bundle, runtime: Runtime) -> None:
    (one, other), params = (raw_rows(bundle, count) for count in (3, 4)), bundle.params
    first, second = np.empty_like(params), np.empty_like(params)
    runtime.gradients(params, *one, first)
    kept = first.copy()
    runtime.gradients(params, *other, second)
    assert np.array_equal(first, kept)
    assert not np.array_equal(second, kept)
    moved = params + np.float32(0.5)
    runtime.gradients(moved, *one, second)
    assert not np.array_equal(second, kept), "the parameters of the last call count"
    runtime.gradients(params, *one, second)
    assert np.array_equal(second, kept)


@pytest.mark.parametrize("wrong", ["double", "strided", "read-only", "the parameters", "half of them"])
def test_a_vector_that_can_not_take_a_gradient_is_refused(bundle: Bundle, runtime: Runtime, wrong: str) -> None:
    size, double = bundle.params.size, np.concatenate([bundle.params, bundle.params])
    params = double[:size]
    frozen = np.empty(size, np.float32)
    frozen.flags.writeable = False
    out = {
        "double": np.empty(size),
        "strided": double[1::2],
        "read-only": frozen,
        "the parameters": params,
        "half of them": double[size // 2 : size // 2 + size],
    }[wrong]
    x, y = raw_rows(bundle, 2)
    before = double.copy()
    with pytest.raises(UsageError, match="a gradient goes to a"):
        runtime.gradients(params, x, y, out)
    assert np.array_equal(double, before)
    runtime.gradients(params, x, y)


def test_a_call_that_was_refused_leaves_nothing_behind(bundle: Bundle, runtime: Runtime) -> None:
    params, (x, y) = bundle.params, raw_rows(bundle, 2)
    out = np.empty_like(params)
    runtime.gradients(params, x, y, out)
    kept = out.copy()
    with pytest.raises(UsageError, match="parameters is expected"):
        runtime.gradients(params + np.float32(0.5), x, y, np.empty(params.size - 1, np.float32))
    runtime.gradients(params, x, y, out)
    assert np.array_equal(out, kept), "the parameters of the refused call would have counted"
