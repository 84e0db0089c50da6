"""One step of each optimiser, in place, and the plain NumPy expression of the same formula in the same run.

Times are medians of the repeats, the two taken in turns; the last line is one JSON object with milliseconds, and the
largest number of bytes that each allocated in a step.
"""

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from accord.optimisers import optimiser_of
from accord.plan import Training
from accord.tensors import Vector

USUAL = {"epochs": 1, "batch_size": 8, "learning_rate": 1_000, "momentum": 0, "proximal": 0}
ASKED = {
    "sgd": {},
    "momentum": {"momentum": 900_000},
    "nesterov": {"optimiser": "nesterov", "momentum": 900_000},
    "fedprox": {"proximal": 10_000},
    "clipped": {"clip_norm": 1_000_000},
    "adam": {"optimiser": "adam"},
    "adamw": {"optimiser": "adamw", "weight_decay": 10_000},
}


class Plain:
    """The formulas as one would write them down."""

    def __init__(self, name: str, anchor: Vector) -> None:
        self.name, self.anchor, self.steps = name, anchor.copy(), 0
        self.first, self.second = np.zeros_like(anchor), np.zeros_like(anchor)

    def step(self, w: Vector, g: Vector) -> None:
        rate, beta1, beta2 = np.float32(0.001), np.float32(0.9), np.float32(0.999)
        self.steps += 1
        match self.name:
            case "sgd":
                w[:] = w - rate * g
            case "momentum":
                self.first = beta1 * self.first + g
                w[:] = w - rate * self.first
            case "nesterov":
                self.first = beta1 * self.first + g
                w[:] = w - rate * (g + beta1 * self.first)
            case "fedprox":
                w[:] = w - rate * (g + np.float32(0.01) * (w - self.anchor))
            case "clipped":
                norm = np.linalg.norm(g)
                w[:] = w - rate * (g * np.float32(min(1.0, 1.0 / norm)))
            case _:
                if self.name == "adamw":
                    w[:] = w - rate * np.float32(0.01) * w
                self.first = beta1 * self.first + (1 - beta1) * g
                self.second = beta2 * self.second + (1 - beta2) * g**2
                first = self.first / np.float32(1 - 0.9**self.steps)
                second = self.second / np.float32(1 - 0.999**self.steps)
                w[:] = w - rate * first / (np.sqrt(second) + np.float32(1e-8))


def allocated(step: Callable[[], None]) -> int:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def measured(name: str, size: int, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(size).astype(np.float32)
    gradient = rng.standard_normal(size).astype(np.float32)
    one, other = start.copy(), start.copy()
    ours = optimiser_of(Training(**(USUAL | ASKED[name])), start)
    plain = Plain(name, start)
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for repeat in range(repeats + 2):
        for who, step in (("ours", lambda: ours.step(one, gradient)), ("plain", lambda: plain.step(other, gradient))):
            began = time.perf_counter()
            step()
            if repeat >= 2:
                times[who].append(1_000 * (time.perf_counter() - began))
    apart = float(np.abs(one - other).max())
    if apart > 1e-4:
        raise SystemExit(f"{name}: the two are {apart} apart")
    ms, plain_ms = (statistics.median(times[who]) for who in ("ours", "plain"))
    return {
        "ms": round(ms, 4),
        "plain_ms": round(plain_ms, 4),
        "ratio": round(plain_ms / ms, 2),
        "bytes": allocated(lambda: ours.step(one, gradient)),
        "plain_bytes": allocated(lambda: plain.step(other, gradient)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50_000, 1_000_000], help="parameters")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    arguments = parser.parse_args()
    found = {}
    for size in arguments.sizes:
        found[str(size)] = {name: measured(name, size, arguments.repeats) for name in ASKED}
        if not arguments.json:
            for name, row in found[str(size)].items():
                print(
                    f"{size:9}  {name:9}  {row['ms']:9.3f} ms  plain {row['plain_ms']:9.3f} ms  {row['ratio']:5.2f} x"
                )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
