"""Golden bytes of numbers: snapshots, fixed-point rounding under a seed, whole vectors of each purpose, packing."""

import dataclasses
from typing import Any

import numpy as np
from recorded_fleet import LAYOUT, SEED, contribution, record

from accord import prg
from accord.plan import Fixed, Plan, Task
from accord.update import fixedpoint, packing
from accord.update.pipeline import POWERS, ROW_POWERS, Contribution, Form
from accord.update.snapshot import Scaling, Snapshot
from accord.wire.envelope import Envelope
from accord.wire.messages import Offer, opened


def _floats(values: Any) -> str:
    return np.asarray(values, "<f4").tobytes().hex()


def snapshot() -> Any:
    """A model's version as an object: parameters, then scaling."""
    scaling = Scaling(
        mean=np.array([1.5, -2], np.float32),
        factor=np.array([0.25, 3], np.float32),
        target_mean=-7.25,
        target_scale=0.1,
    )
    params = np.array([0.1, -1.5, 3.25e-20, 65_504, -0.0], np.float32)
    return {
        "params": _floats(params),
        "mean": _floats(scaling.mean),
        "factor": _floats(scaling.factor),
        "target": [scaling.target_mean, scaling.target_scale],
        "object": Snapshot(params=params, scaling=scaling).encode().hex(),
    }


def rounding() -> Any:
    """Changes of the model as integers: rounded up or down by a seed's keystream, cut where they saturate."""
    seed = SEED.child("rounding")(32)
    drawn = np.frombuffer(prg.keystream(seed, bytes(12), 2 * LAYOUT.size), "<u2").astype(np.float64)
    edge = (1 - (drawn + 0.5) / 2**16).astype(np.float32)  # just enough to be rounded up
    some = np.array([0.3, -0.3, 1e-6, -1e-6, 0.999], np.float32)
    cases = []
    for delta, bits, exponents, rows, largest in (
        (some, 8, (0, 0), 10, 10),
        (some, 16, (0, -2), 3, 100),
        (some, 4, (-3, 1), 99, 70_000),
        (some, 2, (0, 0), 1, 1),
        (edge, 2, (0, 0), 1, 1),
        (edge - np.float32(2.0**-20), 2, (0, 0), 1, 1),
    ):
        fixed = Fixed(value_bits=bits, modulus_bits=32, exponents=exponents, largest_weight=largest)
        weight, top = fixedpoint.weight(rows, largest)
        units, limit = fixedpoint.limits(LAYOUT, fixed), fixedpoint.top_value(fixed)
        found = fixedpoint.encode(delta, weight / top, units, limit, seed)
        mean = fixedpoint.mean(fixedpoint.signed(found.values, 32), weight, top, units)
        cases.append(
            {
                "fixed": fixed.encode().hex(),
                "delta": _floats(delta),
                "rows": rows,
                "weight": [weight, top],
                "values": found.values.tolist(),
                "saturated": found.saturated,
                "mean_of_one": _floats(mean),
            }
        )
    return {"seed": seed.hex(), "tensors": [4, 1], "cases": cases}


def _plan(**changes: Any) -> Plan:
    for entry in record():
        if "data" in entry and (letter := Envelope.decode(bytes.fromhex(entry["data"]))).tag == "plan/3":
            return dataclasses.replace(Plan.decode(opened(letter, Offer).plan), **changes)
    raise AssertionError("the recording has a plan")


def pipeline() -> Any:
    """What one device sends for each purpose, before it is masked."""
    seed = SEED.child("pipeline")(32)
    regression = Task(kind="regression", outputs=1, target_exponent=3, transform="log1p")
    binary = Task(kind="binary", outputs=1, target_exponent=0, transform="none")
    histogram = np.arange(64)
    sums = dict.fromkeys(("absolute", "squared", "positive", "negative", "target_squared"), 1.25)
    one = np.zeros(ROW_POWERS)
    one[4] = 1
    cases: list[tuple[Plan, Contribution]] = [
        (_plan(), contribution("dev-01", 10)),
        (_plan(), Contribution(rows=0, figures={"count": 0, "loss": 0, "correct": 0})),
        (
            _plan(purpose="evaluate", task=regression),
            Contribution(rows=7, figures={"count": 7, "loss": 0.5, **sums}),
        ),
        (
            _plan(purpose="evaluate", task=binary),
            Contribution(
                rows=7, figures={"count": 7, "loss": 2**40, "correct": 3, "ones": histogram, "zeros": histogram[::-1]}
            ),
        ),
        (
            _plan(purpose="powers", length=1),
            Contribution(rows=9, figures={"count": 9, "powers": np.arange(POWERS), "rows": one}),
        ),
        (
            _plan(
                purpose="moments", length=2, fixed=Fixed(value_bits=8, modulus_bits=12, exponents=(), largest_weight=1)
            ),
            Contribution(
                rows=9, figures={"count": 9, "positive": [1, 0.5], "negative": [0, 2**-24], "squared": [1, 3]}
            ),
        ),
    ]
    return {
        "seed": seed.hex(),
        "cases": [
            {
                "plan": asked.encode().hex(),
                "rows": found.rows,
                "delta": None if found.delta is None else _floats(found.delta),
                "figures": {
                    name: np.asarray(value, float).reshape(-1).tolist() for name, value in found.figures.items()
                },
                "vector": Form(asked, LAYOUT).encode(found, seed).tolist(),
            }
            for asked, found in cases
        ],
    }


def packed() -> Any:
    """Integers of each width without gaps."""
    cases = []
    for bits in range(1, 33):
        for length in (0, 1, 2, 5):
            values = np.frombuffer(SEED.child("packing", bits)(4 * length), "<u4").astype(np.uint32)
            low = values & np.uint32((1 << bits) - 1)
            cases.append({"bits": bits, "values": low.tolist(), "packed": packing.pack(values, bits).hex()})
    return cases
