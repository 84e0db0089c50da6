"""The vector of each purpose: it comes back from a sum of devices, and misfits are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError, LocalProtocolError
from accord.secagg import ring
from accord.tensors import Layout
from accord.update import pipeline
from accord.update.pipeline import Contribution, Form
from tests import plans

LAYOUT = Layout((("w", (4, 3)), ("b", (3,))))
PLAN = dataclasses.replace(
    plans.PLAN,
    fixed=dataclasses.replace(plans.PLAN.fixed, exponents=(0, 0)),
    task=dataclasses.replace(plans.PLAN.task, outputs=3),
    length=LAYOUT.size,
)


def test_a_training_sum_gives_the_mean_and_the_figures() -> None:
    form = Form(PLAN, LAYOUT)
    rng = np.random.default_rng(1)
    rows = [1, 50, 100, 0]
    deltas = [rng.normal(0, 0.1, LAYOUT.size).astype(np.float32) for _ in rows]
    total = np.zeros(form.length, np.uint32)
    for count, delta in zip(rows, deltas, strict=True):
        found = Contribution(rows=count, delta=delta, figures={"count": 7, "loss": 1.5, "correct": 3})
        total += form.encode(found, rng.bytes(32))
    read = form.decode(ring.reduced(total, form.bits))
    assert read.figures == {"count": [28.0], "loss": [6.0], "correct": [12.0]}
    assert (read.weight, read.saturated) == (151, 0)
    assert read.mean is not None
    assert np.abs(read.mean - np.average(deltas, axis=0, weights=rows)).max() < 4 * 100 / 151 / 32767 + 1e-6


def test_evaluation_and_statistics_carry_no_model() -> None:
    for purpose, columns in (("powers", 2), ("moments", 2), ("evaluate", 0)):
        plan = dataclasses.replace(PLAN, purpose=purpose, length=columns)
        form = Form(plan, LAYOUT)
        assert form.parameters == 0
        assert form.decode(np.zeros(form.length, np.uint32)).mean is None


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_powers_of_two_bound_their_values(value: float) -> None:
    place = int(pipeline.power_bins(np.array([value]))[0])
    if value == 0:
        assert place == 0
        return
    assert abs(value) <= 2.0 ** pipeline.BOUNDS[place - 1]
    if place > 1:
        assert abs(value) >= 2.0 ** (pipeline.BOUNDS[place - 2]), "a smaller bound holds it"


def test_misfits_are_refused() -> None:
    with pytest.raises(CodecError, match="15"):
        Form(dataclasses.replace(PLAN, length=14), LAYOUT)
    with pytest.raises(CodecError, match="scales"):
        Form(dataclasses.replace(PLAN, fixed=dataclasses.replace(PLAN.fixed, exponents=(0,))), LAYOUT)
    form = Form(PLAN, LAYOUT)
    with pytest.raises(LocalProtocolError, match="15"):
        form.encode(Contribution(rows=1, delta=np.zeros(3, np.float32), figures={}), bytes(32))
    with pytest.raises(CodecError, match="coordinates"):
        form.decode(np.zeros(3, np.uint32))
