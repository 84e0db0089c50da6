"""The grid on which tier int8 keeps its weights: every weight lies in one block, with the scale of its channel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.bundle.grid import BLOCK, WeightGrid
from accord.bundle.quantization import STEPS, WHOLE_TENSOR, Quantization, Slot
from accord.errors import Refusal, UsageError
from accord.tensors import Layout


def slot(kind: str, name: str, axis: int = 0) -> Slot:
    return Slot(kind=kind, values=f"{name}/q", scale=f"{name}/scale", rows="", axis=axis, weight=0)


def made_grid(shape: tuple[int, ...], axis: int, scales: np.ndarray, floats: int = 3) -> WeightGrid:
    """A grid of one bias, one weight, and another bias."""
    layout = Layout((("before", (floats,)), ("w", shape), ("behind", (floats,))))
    slots = (slot("float", "before"), slot(STEPS, "w", axis), slot("float", "behind"))
    quantization = Quantization(cut="", feature_shape=(), feature_type="float32", slots=slots)
    return WeightGrid(layout, quantization, {"w/scale": scales})


SHAPES = st.one_of(
    st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    st.sampled_from([(3, BLOCK + 5), (BLOCK + 5, 3), (2, 3, BLOCK // 4), (BLOCK, 2, 1), (5, 700, 9), (2, 2 * BLOCK)]),
)


@st.composite
def grids(draw: st.DrawFn) -> tuple[WeightGrid, np.ndarray, np.random.Generator]:
    """A grid, the scale of each weight, and numbers for a vector."""
    shape = draw(SHAPES)
    axis = draw(st.sampled_from([*range(len(shape)), WHOLE_TENSOR]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels = () if axis == WHOLE_TENSOR else (shape[axis],)
    scales = rng.uniform(1e-4, 1e-1, channels).astype(np.float32)
    each = scales.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return made_grid(shape, axis, scales), np.broadcast_to(each, shape), rng


@settings(deadline=None)
@given(grids())
def test_steps_are_the_nearest_on_the_scale_of_their_channel(made: tuple[WeightGrid, np.ndarray, object]) -> None:
    grid, scales, rng = made
    params = rng.normal(0, 3, grid.layout.size).astype(np.float32)  # type: ignore[attr-defined]
    found = grid.nearest(params)
    weight = grid.layout.views(params)["w"]
    assert found.tensors[1].dtype == np.int8
    assert np.array_equal(found.tensors[1], np.clip(np.rint(weight / scales), -127, 127))
    assert np.array_equal(found.tensors[0], params[:3])
    assert np.array_equal(found.tensors[2], params[-3:])
    assert found.nbytes == weight.size + 4 * 6


@settings(deadline=None)
@given(grids())
def test_values_are_what_comes_back_to_the_same_steps(made: tuple[WeightGrid, np.ndarray, object]) -> None:
    grid, scales, rng = made
    weights = grid.empty()
    weights.steps[:] = rng.integers(-127, 128, len(weights.steps))  # type: ignore[attr-defined]
    weights.floats[:] = rng.normal(size=6)  # type: ignore[attr-defined]
    values = grid.values(weights)
    assert np.array_equal(grid.layout.views(values)["w"], weights.tensors[1] * scales)
    again = grid.nearest(values, out=grid.empty())
    assert np.array_equal(again.steps, weights.steps)
    assert np.array_equal(again.floats, weights.floats)


def test_blocks_are_neighbours_and_none_is_too_long() -> None:
    for shape, axis in (((5, 700, 9), 1), ((3, BLOCK + 5), 0), ((BLOCK, 2, 1), 2), ((2, 2 * BLOCK), WHOLE_TENSOR)):
        channels = () if axis == WHOLE_TENSOR else (shape[axis],)
        grid = made_grid(shape, axis, np.ones(channels, np.float32))
        blocks = grid.tensors[1].blocks
        assert [b.flat.start for b in blocks] == [3, *(b.flat.stop for b in blocks[:-1])]
        assert blocks[-1].flat.stop == 3 + np.prod(shape)
        assert all(b.flat.stop - b.flat.start <= BLOCK for b in blocks)


@pytest.mark.parametrize(
    "scales",
    [
        {},
        {"w/scale": np.ones(3, np.float32)},
        {"w/scale": np.ones((), np.float32)},
        {"w/scale": np.array([1, 0], np.float32)},
        {"w/scale": np.array([1, -1], np.float32)},
        {"w/scale": np.array([1, np.nan], np.float32)},
        {"w/scale": np.array([np.inf, 1], np.float32)},
    ],
    ids=["missing", "too many", "one", "zero", "negative", "NaN", "infinite"],
)
def test_scales_that_are_none_are_refused(scales: dict[str, np.ndarray]) -> None:
    layout = Layout((("w", (2, 3)),))
    quantization = Quantization(cut="", feature_shape=(), feature_type="float32", slots=(slot(STEPS, "w"),))
    with pytest.raises(Refusal, match=r"CorruptBundle.*scale"):
        WeightGrid(layout, quantization, scales)


def test_slots_and_vectors_that_do_not_fit_are_refused() -> None:
    layout = Layout((("w", (2, 3)),))
    scales = {"w/scale": np.ones(2, np.float32)}
    wrong = Quantization(cut="", feature_shape=(), feature_type="float32", slots=(slot(STEPS, "w", axis=4),))
    with pytest.raises(Refusal, match=r"CorruptBundle.*no axis 4"):
        WeightGrid(layout, wrong, scales)
    two = Quantization(cut="", feature_shape=(), feature_type="float32", slots=(slot(STEPS, "w"), slot("float", "b")))
    with pytest.raises(Refusal, match=r"CorruptBundle.*2 slots for 1 tensors"):
        WeightGrid(layout, two, scales)
    with pytest.raises(UsageError, match="a vector of 12 parameters is expected"):
        made_grid((2, 3), 0, np.ones(2, np.float32)).nearest(np.zeros(11, np.float32))
