"""Golden bytes of numbers: snapshots, fixed-point rounding under a seed, whole vectors of each purpose, packing."""

import dataclasses
import zlib
from typing import Any

import numpy as np
from golden_letters import plain
from recorded_fleet import LAYOUT, SEED, contribution, record

from accord import prg
from accord.plan import Fixed, Plan, Task, Update
from accord.tensors import Layout
from accord.update import advance, basis, blocks, fixedpoint, packing, subspace
from accord.update.advance import Advance
from accord.update.delta import Delta, along, between
from accord.update.pipeline import POWERS, ROW_POWERS, Contribution, Form
from accord.update.snapshot import Scaling, Snapshot, unscaled
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


DELTA_LAYOUT = Layout((("w", (5, 30)), ("v", (200,)), ("b", (3,))))
DELTA_COLUMNS = 2


def delta_versions() -> tuple[bytes, bytes]:
    """Return a version on no grid, and one a few steps away in its second, its fifth and its last block."""
    drawn = np.frombuffer(SEED.child("delta")(2 * DELTA_LAYOUT.size), "<i2").astype(np.float64)
    some = np.frombuffer(SEED.child("steps")(2 * DELTA_LAYOUT.size), "<i2").astype(np.float64) % 23 - 11
    steps = np.zeros(DELTA_LAYOUT.size)
    for start, stop, step in ((64, 128, 2.0**3), (256, 320, 1.0), (350, 353, 2.0**20)):
        steps[start:stop] = step * some[start:stop]
    grid = np.repeat([2.0**-20, 2.0**-20, 2.0**-22], [150, 200, 3])
    base = Snapshot(params=(drawn / 2**16).astype(np.float32) / np.float32(3), scaling=unscaled(DELTA_COLUMNS))
    moved = ((np.rint(base.params / grid) + steps) * grid + 0.0).astype(np.float32)
    scaling = dataclasses.replace(base.scaling, target_mean=1.5)
    return base.encode(), Snapshot(params=moved, scaling=scaling).encode()


def factored(use: str, side: int) -> Advance:
    """Return an advance whose first tensor is a product of factors, finer than its grid; the others have numbers."""
    draw = np.frombuffer(SEED.child("factors", use)(512), "<i1").astype(np.int64)
    sizes = subspace.matrix(DELTA_LAYOUT.tensors[0][1], 2)
    assert sizes is not None
    held = basis.Basis(
        side=side,
        numbers=draw[: 2 * sizes[1 - side]].astype(np.int8).reshape(-1, 2),
        exponents=np.array([-7, -9], np.int8),
    )
    numbers = [draw[100 : 100 + 2 * sizes[side]], draw[200:400] % 7 - 3, draw[400:403] * 1_000]
    found = advance.made(
        grid=(-20, -20, -22), shifts=(-3, 2, 0), numbers=numbers, places=b"", rank=2, support=held.encode()
    )
    assert found is not None
    return found


def chain() -> tuple[bytes, bytes, Delta]:
    """Return a version, a later one, and a delta of three advances: listed blocks, then factors of either side."""
    base, result = delta_versions()
    made = between(base, result, DELTA_LAYOUT)
    assert made is not None
    advances = (*Delta.decode(made).advances, factored("rows", 0), factored("columns", 1))
    params = np.frombuffer(result, "<f4", count=DELTA_LAYOUT.size).copy()
    for one in advances[1:]:
        advance.move(params, one, DELTA_LAYOUT)
    last = params.tobytes() + result[params.nbytes :]
    found = along(base, last, advances, DELTA_LAYOUT)
    assert found is not None
    return base, last, Delta.decode(found)


def deltas() -> Any:
    """Deltas: numbers packed, the same deflated (stored blocks of RFC 1951), and a chain with factors of both sides."""
    base, result = delta_versions()
    made = between(base, result, DELTA_LAYOUT)
    assert made is not None
    delta = Delta.decode(made)
    packed = delta.advances[0]
    assert not packed.deflated
    changed, at, planes = blocks.decode(packed.places, DELTA_LAYOUT.size), 0, b""
    for place, width in zip(DELTA_LAYOUT.places, packed.widths, strict=True):
        count = int(np.count_nonzero(blocks.members(changed, place.offset, place.offset + place.size)))
        size = packing.packed_size(count, width)
        numbers = packing.unpack(packed.values[at : at + size], count, width)
        at += size
        for rank in range(-(-width // 8)):
            planes += (numbers >> np.uint32(8 * rank)).astype(np.uint8).tobytes()
    deflated = dataclasses.replace(packed, deflated=True, values=zlib.compress(planes, 0))
    _, last, along_all = chain()
    cases = ((result, delta), (result, dataclasses.replace(delta, advances=(deflated,))), (last, along_all))
    return {
        "tensors": [list(place.shape) for place in DELTA_LAYOUT.places],
        "base": base.hex(),
        "cases": [{"fields": plain(one), "delta": one.encode().hex(), "result": there.hex()} for there, one in cases],
    }


TOPK = Update(kind="topk", share=600_000, feedback=10, bits=4, compression="zlib")
"""Three of five values."""


def open_plan(update: Update = TOPK) -> Plan:
    """Return a plan of open mode for the model of five parameters, whose tensors have scales a quarter apart."""
    fixed = Fixed(value_bits=16, modulus_bits=19, exponents=(0, -2), largest_weight=10)
    return _plan(profile="off", update=update, fixed=fixed)


def sent_openly(update: Update = TOPK, rows: int = 10) -> bytes:
    """Return what a device sends under such a plan."""
    form = Form(open_plan(update), LAYOUT)
    delta = np.array([0.3, -0.004, 0.5, -0.01, -0.21], np.float32)
    figures = {"count": 7, "loss": 1.5, "correct": 3}
    return form.pack(form.coded(Contribution(rows=rows, delta=delta, figures=figures), SEED.child("open")(32)))


def sparse_updates() -> Any:
    """What a device sends in open mode, and the vector that it stands for; the last one with deflated gaps.

    Their stream is a stored block of RFC 1951: one that is shorter depends on who made it.
    """
    updates = [
        *(dataclasses.replace(TOPK, bits=bits) for bits in (8, 4, 1)),
        dataclasses.replace(TOPK, kind="ternary", bits=1),
    ]
    cases = [(update, sent_openly(update)) for update in updates]
    whole = dataclasses.replace(TOPK, bits=8, share=1_000_000)
    plain_form, start = sent_openly(whole), 9 + 4 * len(LAYOUT.tensors)
    between = start + int.from_bytes(plain_form[5:9], "little")
    gaps = zlib.compress(plain_form[start:between], 0)
    head = b"\x01" + plain_form[1:5] + len(gaps).to_bytes(4, "little") + plain_form[9:start]
    cases.append((whole, head + gaps + plain_form[between:]))
    return {
        "tensors": [place.size for place in LAYOUT.places],
        "cases": [
            {
                "kind": update.kind,
                "bits": update.bits,
                "exponents": list(open_plan(update).fixed.exponents),
                "plan": open_plan(update).encode().hex(),
                "sent": data.hex(),
                "vector": Form(open_plan(update), LAYOUT).unpack(data).tolist(),
            }
            for update, data in cases
        ],
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
        units, limit = fixedpoint.limits(LAYOUT.sizes, fixed), fixedpoint.top_value(fixed)
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
        if "data" in entry and (letter := Envelope.decode(bytes.fromhex(entry["data"]))).tag == "plan/7":
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
