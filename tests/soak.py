"""The long checks in full: `make soak`. The last line is one JSON object with every seed and count.

`tests/test_soak.py` runs a small part of each, with the same seeds. Exit status 1 means that something was wrong.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accord.errors import CodecError
from accord.link.memory import Faults
from accord.plan import Plan
from accord.wire.envelope import Envelope
from accord.wire.messages import TAGS
from quantize.differentiate.registry import known_operators
from tests.aggregator.job_scene import Scene
from tests.broker.malformed import siege
from tests.quantize.test_random_graphs import explore
from tests.secagg.driven_cohort import cohort_with_dropouts
from tests.simulation.bad_link import BadLink
from tests.simulation.test_accuracy import fedavg, fleet, reached

Told = Callable[[str], None]
MANY_GRAPHS = 3_000
"""Random graphs, among which every rule occurs."""


def cohorts(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Random cohorts with dropouts at every stage: the exact sum, or an abort by name.

    Nine of ten have 3 to 16 devices, where thresholds are tight; the tenth has up to 40.
    """
    rng = np.random.default_rng(seed)
    ended: Counter[str] = Counter()
    for number in range(count):
        largest = 16 if number % 10 else 40
        n, rate, drawn = int(rng.integers(3, largest + 1)), float(rng.uniform(0, 0.5)), int(rng.integers(0, 2**32))
        ended[cohort_with_dropouts(n, rate, drawn) or "exact"] += 1
        told(f"{number + 1} of {count}")
    return {"ended": dict(ended)}


def bad_link(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Fleets of eight devices on links that drop, double, reorder and delay, two rounds each, both profiles."""
    rng = np.random.default_rng(seed)
    ended: Counter[str] = Counter()
    for number in range(count):
        faults = Faults(
            drop=float(rng.choice([0, 0.01, 0.05, 0.1, 0.3])),
            duplicate=float(rng.uniform(0, 0.5)),
            reorder=float(rng.uniform(0, 0.5)),
            delay=float(rng.choice([0, 0.5, 2, 20])),
        )
        dropout, parts = float(rng.choice([0, 0.1, 0.3])), int(rng.integers(1, 3))
        link = BadLink(int(rng.integers(0, 2**32)), faults, dropout=dropout, cohorts=parts)
        ended.update(link.rounds(2, ("standard", "off")[number % 2]).ended)
        told(f"{number + 1} of {count}")
    return {"rounds": 2 * count, "ended": dict(ended)}


def codec(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Real letters of a round, damaged: each is refused as CodecError, or is the one encoding of what it says."""
    rng = np.random.default_rng(seed)
    scene = Scene("standard")
    scene.to_the_end()
    letters = scene.mine[0] + scene.mine[1] + [scene.last]
    ended: Counter[str] = Counter()
    for number in range(count):
        envelope = Envelope.decode(letters[int(rng.integers(len(letters)))])
        whole = bool(rng.integers(2))
        record = Envelope if whole else TAGS[envelope.tag]
        data = damaged(envelope.encode() if whole else envelope.payload, rng)
        try:
            again = record.decode(data).encode()
        except CodecError:
            ended["refused"] += 1
        else:
            assert again == data, f"{record.__name__} reads {data.hex()} and writes {again.hex()}"
            ended["another value"] += 1
        try:
            Plan.decode(data)
        except CodecError:
            ended["no plan"] += 1
        told(f"{number + 1} of {count}")
    assert ended["no plan"] == count, "a damaged letter is no plan"
    return {"ended": dict(ended)}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return `data` with a byte changed, cut out, doubled, or with its end cut off."""
    at = int(rng.integers(len(data)))
    match int(rng.integers(4)):
        case 0:
            return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + 1 :]
        case 2:
            return data[:at] + data[at : at + 1] + data[at:]
    return data[:at]


def accuracy(count: int, seed: int, told: Told) -> dict[str, Any]:
    """What the fleet reaches on digits, dealt by Dirichlet 0.3 to ten devices: above 0.95 for every seed."""
    found = []
    for number in range(seed, seed + count):
        found.append(reached(fleet(number, "dense:16")))
        told(f"seed {number}: {found[-1]:.4f}")
    assert min(found) > 0.95, found
    return {"accuracy": found, "mean": float(np.mean(found))}


def comparison(count: int, seed: int, told: Told) -> dict[str, Any]:
    """The fleet beside plain float FedAvg on the same rows: their means differ by less than half a point."""
    ours, theirs = [], []
    for number in range(seed, seed + count):
        ours.append(reached(fleet(number, "dense:16")))
        theirs.append(fedavg(number))
        told(f"seed {number}: {ours[-1]:.4f} and {theirs[-1]:.4f}")
    difference = float(np.mean(ours) - np.mean(theirs))
    assert abs(difference) < 0.005, (ours, theirs)
    return {"fleet": ours, "fedavg": theirs, "difference": difference}


def gradients(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Random graphs of every rule: onnxruntime against float64, differences against both."""
    seen = explore(count, seed, told)
    graphs = seen.pop("graphs")
    missing = set(known_operators()) - set(seen) - {"QuantizeLinear", "DequantizeLinear"}
    assert count < MANY_GRAPHS or not missing, f"no graph has {', '.join(sorted(missing))}"
    return {"graphs": graphs, "operators": seen}


def crashes(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Power lost at every durable write and every send, in every way a disk can lose what was written."""
    told("every crash point")
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--timeout",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/fleet/test_crashes.py",
    ]
    done = subprocess.run(words, env=os.environ | {"ACCORD_SOAK": "1"}, capture_output=True, text=True, check=False)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-2_000:]
    assert passed is not None, done.stdout[-2_000:]
    return {"passed": int(passed.group(1))}


def packets(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Damaged packets at the embedded broker, while an aggregator and a device go on: nothing lost, nothing grown."""
    with tempfile.TemporaryDirectory() as folder:
        return siege(Path(folder) / "broker", count, seed, told)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One long check: how much of it is the whole, how much is enough for `make test`, and its seed."""

    name: str
    run: Callable[[int, int, Told], dict[str, Any]]
    full: int
    reduced: int
    seed: int = 0


CHECKS = (
    Check(name="cohorts", run=cohorts, full=2_000, reduced=12),
    Check(name="bad link", run=bad_link, full=300, reduced=6),
    Check(name="codec", run=codec, full=50_000, reduced=1_000),
    Check(name="accuracy", run=accuracy, full=5, reduced=0),  # test_accuracy.py runs three of these seeds
    Check(name="comparison", run=comparison, full=3, reduced=0),  # tests/simulation/test_accuracy.py is the whole
    Check(name="gradients", run=gradients, full=MANY_GRAPHS, reduced=0),  # test_random_graphs.py runs a few
    Check(name="crashes", run=crashes, full=1, reduced=0),  # tests/fleet/test_crashes.py without ACCORD_SOAK
    Check(name="packets", run=packets, full=100_000, reduced=0),  # tests/broker/test_hostile.py sends a few
)


def soak(checks: Sequence[Check], *, share: float = 1.0) -> dict[str, Any]:
    """Run checks one after another and return one JSON-ready record; a wrong result is told and stops none of them."""
    record: dict[str, Any] = {"checks": {}, "wrong": []}
    started = time.monotonic()
    for check in checks:
        count = max(1, round(check.full * share))
        begun = last = time.monotonic()

        def told(what: str, check: Check = check, begun: float = begun) -> None:
            nonlocal last
            if time.monotonic() - last >= 1:
                last = time.monotonic()
                sys.stderr.write(f"\r{check.name}: {what}, {last - begun:.0f} s\033[K")
                sys.stderr.flush()

        entry: dict[str, Any] = {"seed": check.seed, "count": count}
        try:
            entry |= check.run(count, check.seed, told)
        except Exception as error:  # noqa: BLE001 - whatever a check raises is a wrong result, and the others still run
            entry["error"] = f"{type(error).__name__}: {error}"[:2_000]
            record["wrong"].append(check.name)
        entry["seconds"] = round(time.monotonic() - begun, 1)
        record["checks"][check.name] = entry
        outcome = "WRONG" if "error" in entry else "good"
        sys.stderr.write(f"\r{check.name}: {outcome}, {count} in {entry['seconds']} s\033[K\n")
    return record | {"seconds": round(time.monotonic() - started, 1)}


def main(words: Sequence[str] | None = None, checks: Sequence[Check] = CHECKS) -> int:
    """Run what was asked for, print the record, and return 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", choices=[check.name for check in checks], action="append", help="default: every check"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts (default %(default)s)")
    arguments = parser.parse_args(words)
    record = soak([c for c in checks if c.name in (arguments.only or [c.name])], share=arguments.share)
    print(json.dumps(record))
    return 1 if record["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
