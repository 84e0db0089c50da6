"""Accuracy against bytes for each way to send an update, as one picture: Fashion-MNIST, a CNN of 108,618 parameters.

The first 20,000 rows dealt to 100 devices by Dirichlet 0.3, 25 in a round, 60 rounds of one pass each. Runs are without
masks, which changes no bit of a model and no byte of a payload, and four to five times as fast. Accuracy is on 4,000
test rows. The last line is one JSON object; `--plot FILE.png` or `.svg` draws the curves.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from update_runs import FASHION, FLOAT32, FLOAT32_BYTES, VERSIONS, Run, all_of, configure, late

from aggregator.update_choice import DEFAULT, UpdateChoice

WAYS = (
    FLOAT32, "dense:16", "dense:8", "dense:4", "low-rank:16:4", DEFAULT, "low-rank:4:4", "low-rank:2:4",
    "block-score:0.1:8", "block-score:0.1:4", "topk:0.03:8", "topk:0.01:4", "ternary:0.01",
)  # fmt: skip
SMOOTH = 3
"""Rounds whose mean is drawn: single ones jump by a point."""


def drawn(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw accuracy over the bytes that a device has sent for each parameter in its rounds so far."""
    figure = Figure(figsize=(11.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    colours = iter(colormaps["tab20"].colors[::2] + colormaps["tab20"].colors[1::2])
    for way, result in found.items():
        up = result["payload_bytes_up"] / result["parameters"]
        rounds = range(SMOOTH, len(result["accuracy"]) + 1)
        smooth = [100 * sum(result["accuracy"][at - SMOOTH : at]) / SMOOTH for at in rounds]
        opened = way != FLOAT32 and UpdateChoice.parse(way).open
        axes.plot(
            [up * at for at in rounds],
            smooth,
            color="black" if way == FLOAT32 else next(colours),
            linestyle="--" if opened else "-",
            linewidth=2.4 if way in (FLOAT32, DEFAULT) else 1.2,
            label=f"{way}{' (open)' if opened else ''}: {up:.3g} bytes, {100 * late(result):.1f} %",
        )
    axes.set(
        xscale="log",
        ylim=(40, None),
        xlabel="bytes sent for each parameter, all rounds of a device that takes part in each",
        ylabel="accuracy on all test rows, %",
    )
    axes.grid(alpha=0.3, which="both")
    figure.legend(
        loc="outside right upper",
        fontsize=8,
        title="bytes per parameter and round; accuracy at the end",
        title_fontsize=8,
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves here")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="WAY", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    configure(parser)
    asked = parser.parse_args()
    runs = [Run(case=FASHION, update=way, seed=asked.seed, masks=False) for way in asked.ways]
    found = dict(zip(asked.ways, all_of(runs, workers=asked.workers, kept=asked.kept), strict=True))
    if asked.plot is not None:
        drawn(found, asked.plot)
    dense = late(next(iter(found.values())))
    result = {
        way: {
            "accuracy": round(late(one), 4),
            "points_below_first": round(100 * (dense - late(one)), 2),
            "bytes_per_param_up": round(one["payload_bytes_up"] / one["parameters"], 4),
            "bytes_per_param_down": round(one["payload_bytes_down"] / one["parameters"], 4),
            "bytes_per_param_down_per_version": round(one["payload_bytes_down"] / one["parameters"] / one[VERSIONS], 4),
            "ratio_to_float32": round(FLOAT32_BYTES * one["parameters"] / one["payload_bytes_up"], 1),
        }
        for way, one in found.items()
    }
    if not asked.json:
        for way, row in result.items():
            print(way, row)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
