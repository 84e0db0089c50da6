"""Bytes of an update against accuracy, through the real protocol: digits, MLP 64-256-128-10, 100 devices, 25 a round.

Rows are dealt by Dirichlet 0.3; 80 rounds of 8 local steps. `dense` is plain float32 FedAvg without the protocol, which
all points are below; where devices drop out it draws so many fewer. Accuracy is the mean over the last 10 rounds, on
all test rows. The open options are without masks: each device sends its own largest values. The last rows have 2,000
devices on Fashion-MNIST of which each takes part at most 3 times, with feedback and without, without masks, which
changes no bit of the model. Bytes are those of the vector (up) and of the snapshot or delta (down), means over the
devices of a round, and down also for each version that a device came forward; control bytes are all others on the
link. The last line is one JSON object.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from update_runs import DIGITS, FLOAT32, FLOAT32_BYTES, SELDOM, VERSIONS, Case, Run, all_of, configure, late

from aggregator.update_choice import DEFAULT

SECURE = {
    "secure_default": DEFAULT,
    "dense:16": "dense:16",
    "dense:8": "dense:8",
    "block-score:0.1:8": "block-score:0.1:8",
    "block-score:0.1:4": "block-score:0.1:4",
    "low-rank:4:4": "low-rank:4:4",
    "low-rank:2:4": "low-rank:2:4",
}
OPEN = ("topk:0.03:8", "topk:0.03:4", "topk:0.01:8", "topk:0.01:4", "topk:0.01:1", "ternary:0.01")
"""Without masks: the aggregator sees each update."""
EVERY = {"dense": FLOAT32} | SECURE | {f"open {name}": name for name in OPEN}
QUICK = ("dense", "secure_default")


def rows(case: Case, *, quick: bool, only: Sequence[str], masks: bool) -> Iterator[tuple[str, str, list[Run]]]:
    """Yield the name of each row, of the one that it is compared with, and its runs, one per seed."""
    seeds, dropouts = ((0,), (0.0,)) if quick else ((0, 1), (0.0, 0.2))
    for dropout in dropouts:
        ending = f" at {dropout:.0%} dropouts" if dropout else ""
        for name, update in EVERY.items():
            if name in (only or (QUICK if quick else EVERY)) or name == "dense":
                yield (
                    name + ending,
                    "dense" + ending,
                    [Run(case=case, update=update, seed=seed, dropout=dropout, masks=masks) for seed in seeds],
                )
    if not quick and not only:
        yield "2,000 devices, dense", "2,000 devices, dense", [Run(case=SELDOM, update=FLOAT32, seed=s) for s in seeds]
        for feedback in ("on", "off"):
            for name in ("secure_default", "block-score:0.1:8"):
                yield (
                    f"2,000 devices, {name}, feedback {feedback}",
                    "2,000 devices, dense",
                    [Run(case=SELDOM, update=EVERY[name], seed=s, feedback=feedback, masks=False) for s in seeds],
                )


def figures(found: Sequence[dict[str, Any]], dense: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the means over seeds."""
    mean = {
        name: statistics.fmean(result[name] for result in found) for name in found[0] if name.endswith(("up", "down"))
    }
    parameters = found[0]["parameters"]
    up = mean["payload_bytes_up"] / parameters
    versions = statistics.fmean(result[VERSIONS] for result in found)
    result = {
        "accuracy": statistics.fmean(map(late, found)),
        "points_below_dense": 100 * statistics.fmean(late(d) - late(f) for d, f in zip(dense, found, strict=True)),
        "bytes_per_param_up": up,
        "bytes_per_param_down": mean["payload_bytes_down"] / parameters,
        "bytes_per_param_down_per_version": mean["payload_bytes_down"] / parameters / versions,
        "control_bytes_up": mean["control_bytes_up"],
        "control_bytes_down": mean["control_bytes_down"],
        "ratio_to_float32": FLOAT32_BYTES / up,
    }
    for number in (20, 40):
        if len(found[0]["accuracy"]) >= number:
            result[f"accuracy_at_{number}"] = statistics.fmean(f["accuracy"][number - 1] for f in found)
    return {name: round(value, 4) for name, value in result.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--quick", action="store_true", help="the default against dense only, one seed, no dropouts")
    parser.add_argument("--rounds", type=int, default=80, help="of each run (default %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], choices=list(EVERY), metavar="ROW", help="rows besides dense")
    configure(parser)
    parser.add_argument("--without-masks", action="store_true", help="five times as fast; control bytes are not shown")
    asked = parser.parse_args()
    case = dataclasses.replace(DIGITS, options=DIGITS.options | {"rounds": asked.rounds})
    wanted = list(rows(case, quick=asked.quick, only=asked.only, masks=not asked.without_masks))
    runs = [run for _, _, some in wanted for run in some]
    found = dict(
        zip(
            (run.name for run in runs),
            all_of(runs, workers=asked.workers, kept=asked.kept),
            strict=True,
        )
    )
    of = {name: [found[run.name] for run in some] for name, _, some in wanted}
    result = {name: figures(of[name], of[dense]) for name, dense, _ in wanted}
    if not asked.json:
        for name, row in result.items():
            print(name, row)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
