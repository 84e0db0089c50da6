"""Device-rounds per second of `simulate`, masked and not: 36 devices of about 110 rows, 40 features, 6 classes.

A peer's simulation engine did 28 device-rounds per second on the same work on 2 cores, without masks. The last line is
one JSON object; figures are medians of the repeats.
"""

import argparse
import json
import resource
import statistics
import time

import numpy as np

from simulation.datasets import Dataset
from simulation.in_process import simulate

DEVICES, ROWS, FEATURES, CLASSES, PER_ROUND = 36, 110, 40, 6, 12


def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (CLASSES, FEATURES))

    def part(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = rng.integers(0, CLASSES, rows * DEVICES)
        x = centres[y] + rng.normal(0, 2, (rows * DEVICES, FEATURES))
        return x.astype(np.float32), y, np.repeat([f"dev-{i:02d}" for i in range(DEVICES)], rows)

    train, test = part(ROWS), part(20)
    return Dataset(
        name="synthetic",
        x_train=train[0], y_train=train[1], c_train=train[2], x_test=test[0], y_test=test[1], c_test=test[2],
    )  # fmt: skip


def rate(data: Dataset, rounds: int, *, masked: bool) -> float:
    seconds: list[float] = []
    simulate(
        data,
        told=lambda row: seconds.append(row.seconds),
        model="mlp:64",
        rounds=rounds,
        devices_per_round=PER_ROUND,
        local_epochs=2,
        batch_size=32,
        secure_aggregation=masked,
    )
    return PER_ROUND * rounds / sum(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    data = dataset()
    found: dict[bool, list[float]] = {True: [], False: []}
    started = time.perf_counter()
    for _ in range(arguments.repeats):  # interleaved, so that a busy moment hits both
        for masked in (True, False):
            found[masked].append(rate(data, arguments.rounds, masked=masked))
    result = {
        "device_rounds_per_s_masked": round(statistics.median(found[True]), 1),
        "device_rounds_per_s_plain": round(statistics.median(found[False]), 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    if not arguments.json:
        print(f"{arguments.repeats} repeats in {time.perf_counter() - started:.1f} s", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
