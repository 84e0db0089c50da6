"""Bytes of an update against accuracy, through the real protocol: digits, MLP 64-256-128-10, 100 devices, 25 a round.

Rows are dealt by Dirichlet 0.3; 80 rounds of 8 local steps. `dense` sends every parameter in 16 bits, whose rounding
changes nothing that can be measured; points are below it. Accuracy is the mean over the last 10 rounds, on all test
rows that the devices of a round hold. The open options are without masks: each device sends its own largest values.
Bytes are those of the vector (up) and of the snapshot or delta (down), means over the devices of a round; control bytes
are all others on the link. The last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

from aggregator.update_choice import DEFAULT
from simulation.history import History
from simulation.in_process import simulate

PARAMETERS = 64 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
FLOAT32 = 4.0
LAST = 10
OPTIONS = {
    "dense": "dense:16",
    "secure_default": DEFAULT,
    "dense:8": "dense:8",
    "block-score:0.1:8": "block-score:0.1:8",
    "block-score:0.1:4": "block-score:0.1:4",
    "low-rank:4:4": "low-rank:4:4",
    "low-rank:2:4": "low-rank:2:4",
}
OPEN_OPTIONS = ("topk:0.03:8", "topk:0.03:4", "topk:0.01:8", "topk:0.01:4", "topk:0.01:1", "ternary:0.01")
"""Without masks: the aggregator sees each update."""


def run(update: str, *, rounds: int, seed: int, dropout: float) -> History:
    """Train once."""
    return simulate(
        "digits",
        devices=100,
        partition="dirichlet:0.3",
        model="mlp:256,128",
        rounds=rounds,
        devices_per_round=25,
        local_epochs=8,
        batch_size=32,
        lr=0.2,
        dropout=dropout,
        seed=seed,
        update=update,
        secure_aggregation=update not in OPEN_OPTIONS,
    )


def figures(found: Sequence[History]) -> dict[str, float]:
    """Return the means over seeds."""
    rows = [row for history in found for row in history.rounds]
    late = [row.evaluation.accuracy for history in found for row in history.rounds[-LAST:]]
    mean = {
        name: statistics.fmean(getattr(row, name) for row in rows)
        for name in ("payload_bytes_up", "payload_bytes_down", "control_bytes_up", "control_bytes_down")
    }
    return {
        "accuracy": statistics.fmean(value for value in late if value is not None),
        "bytes_per_param_up": mean["payload_bytes_up"] / PARAMETERS,
        "bytes_per_param_down": mean["payload_bytes_down"] / PARAMETERS,
        "control_bytes_up": mean["control_bytes_up"],
        "control_bytes_down": mean["control_bytes_down"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--quick", action="store_true", help="the default against dense only, one seed, no dropouts")
    parser.add_argument("--rounds", type=int, default=80, help="of each run (default %(default)s)")
    asked = parser.parse_args()
    every = OPTIONS | {f"open {name}": name for name in OPEN_OPTIONS}
    options = dict(list(OPTIONS.items())[:2]) if asked.quick else every
    seeds, dropouts = ([0], [0.0]) if asked.quick else ([0, 1], [0.0, 0.2])
    result: dict[str, dict[str, float]] = {}
    for dropout in dropouts:
        ending = f" at {dropout:.0%} dropouts" if dropout else ""
        for name, update in options.items():
            began = time.perf_counter()
            found = figures([run(update, rounds=asked.rounds, seed=seed, dropout=dropout) for seed in seeds])
            below = 100 * (result.get("dense" + ending, found)["accuracy"] - found["accuracy"])
            found |= {"points_below_dense": below, "ratio_to_float32": FLOAT32 / found["bytes_per_param_up"]}
            result[name + ending] = {key: round(value, 4) for key, value in found.items()}
            if not asked.json:
                print(f"{name}{ending} ({update}), {time.perf_counter() - began:.0f} s: {result[name + ending]}")
                sys.stdout.flush()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
