"""What int8 costs in accuracy: tiers last-all and int8 beside float training, and the exported models beside all three.

`cnn:small` learns the first 10,000 rows of Fashion-MNIST from the same initial weights, in float; with all of it
rounded (tier last-all), both with momentum; and with weights that are int8 while they are trained (tier int8), without.
Each has the learning rate that is best on validation rows, over all seeds; test rows are looked at once, at the end.
With --rounding, tier int8 also trains at small rates, once rounding its steps at random and once to the nearest, and
what each reaches on the test rows is told, nothing chosen. The last line is one JSON object; points are hundredths of
accuracy.
"""

import argparse
import json
import os
import statistics
import time
from typing import Any

import numpy as np

from accord.bundle.archive import Bundle
from accord.bundle.export import Units, export
from accord.bundle.rounding import HIGHEST
from accord.entropy import SeededEntropy
from accord.optimisers import OnGrid, Sgd, StochasticRounding
from accord.runtimes import open_runtime
from accord.runtimes.onnx import Exported
from accord.tensors import Vector
from quantize.making import Choices, make
from simulation.datasets import Dataset, load

ROWS, VALIDATION, BATCH, MOMENTUM = 10_000, 2_000, 32, 0.9
TIERS = {"float": "float", "last_all": "last-all", "int8": "int8"}
RATES = {"float": (0.01, 0.02, 0.05), "last_all": (0.01, 0.02, 0.05), "int8": (0.05, 0.1, 0.2, 0.5)}
"""Without momentum the same way takes a rate that is ten times as large."""
SMALL_RATES = (0.0005, 0.002, 0.01, 0.05)


class Nearest:
    """Rounds changes to the nearest step: what training at random is compared with."""

    def add(self, steps: Any, change: Any, *, step: int, block: int) -> bool:  # noqa: ARG002 - of the other kind
        steps[:] = np.clip(steps + np.rint(change), -HIGHEST, HIGHEST)
        return True


def bundle_of(tier: str, data: Dataset, seed: int) -> Bundle:
    choices = Choices(tier=tier)
    return make("cnn:small", data.row_shape, 10, "softmax", BATCH, SeededEntropy(seed), None, choices).bundle


def trained(bundle: Bundle, x: Any, y: Any, *, rate: float, epochs: int, seed: int, nearest: bool = False) -> Vector:
    """Train with a rate that falls in a straight line; each epoch is a round, after which the momentum is forgotten.

    Tier int8 begins each epoch from the steps of the one before, as one device would that is alone.
    """
    runtime, params = open_runtime(bundle, "onnx"), bundle.params.copy()
    gradient, rng = np.empty_like(params), np.random.default_rng(seed)
    for epoch in range(epochs):
        momentum = 0.0 if runtime.grid else MOMENTUM
        optimiser = Sgd(params, learning_rate=rate * (1 - epoch / epochs), momentum=momentum)
        order = rng.permutation(len(y))
        if runtime.grid is not None:
            rounding = Nearest() if nearest else StochasticRounding(rng.bytes(32))
            on_grid = OnGrid(runtime.grid, optimiser, rounding)
            weights = on_grid.start(params)
            for at in range(0, len(y), BATCH):
                batch = order[at : at + BATCH]
                on_grid.step(weights, runtime.slopes(weights, x[batch], y[batch])[1])
            params = runtime.grid.values(weights)
            continue
        for at in range(0, len(y), BATCH):
            batch = order[at : at + BATCH]
            runtime.gradients(params, x[batch], y[batch], gradient)
            optimiser.step(params, gradient)
    return params


def accuracy(outputs: Any, y: Any) -> float:
    return 100 * float((outputs.argmax(axis=1) == y).mean())


def rounded(data: Dataset, scaled: Any, test: Any, seeds: range, epochs: int, *, loud: bool) -> dict[str, Any]:
    """Return points on the test rows for each small rate and each way to round."""
    fit, found = slice(0, ROWS - VALIDATION), {}
    for rate in SMALL_RATES:
        for name, nearest in (("random", False), ("nearest", True)):
            points = []
            for seed in seeds:
                bundle = bundle_of("int8", data, seed)
                params = trained(
                    bundle, scaled[fit], data.y_train[fit], rate=rate, epochs=epochs, seed=seed, nearest=nearest
                )
                points.append(accuracy(open_runtime(bundle, "onnx").predict(params, test), data.y_test))
            found[f"{name}_{rate}"] = [round(point, 2) for point in points]
            if loud:
                print(f"int8, rate {rate}, rounded {name}: {found[f'{name}_{rate}']} on test rows", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounding", action="store_true", help="compare rounding at random with the nearest, too")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    started, seeds = time.monotonic(), range(arguments.seeds)
    data = load("fashion-mnist", rows=ROWS)
    fit = slice(0, ROWS - VALIDATION)
    mean, factor = data.x_train[fit].mean(), 1 / data.x_train[fit].std()
    scaled, test = (data.x_train - mean) * factor, (data.x_test - mean) * factor
    units = Units(mean=np.full(1, mean, np.float32), factor=np.full(1, factor, np.float32))
    result: dict[str, Any] = {}
    tests: dict[str, list[float]] = {}
    for kind, tier in TIERS.items():
        bundles = [bundle_of(tier, data, seed) for seed in seeds]
        runtimes = [open_runtime(bundle, "onnx") for bundle in bundles]
        found: dict[float, list[tuple[float, Vector]]] = {}
        for rate in RATES[kind]:
            found[rate] = []
            for seed in seeds:
                params = trained(
                    bundles[seed], scaled[fit], data.y_train[fit], rate=rate, epochs=arguments.epochs, seed=seed
                )
                outputs = runtimes[seed].predict(params, scaled[ROWS - VALIDATION :])
                found[rate].append((accuracy(outputs, data.y_train[ROWS - VALIDATION :]), params))
            if not arguments.json:
                shown = ", ".join(f"{points:.2f}" for points, _ in found[rate])
                print(f"{kind}, rate {rate}: {shown} on validation rows", flush=True)
        best = max(found, key=lambda rate: statistics.mean(points for points, _ in found[rate]))
        result[f"{kind}_learning_rate"] = best
        result[f"{kind}_validation"] = {rate: [round(points, 2) for points, _ in runs] for rate, runs in found.items()}
        for seed in seeds:
            params = found[best][seed][1]
            tests.setdefault(kind, []).append(accuracy(runtimes[seed].predict(params, test), data.y_test))
            if tier != "float":
                model = Exported(export(bundles[seed], params, units, {}))
                tests.setdefault(f"{kind}_exported", []).append(accuracy(model.predict(data.x_test), data.y_test))
    means = {kind: statistics.mean(points) for kind, points in tests.items()}
    for kind in ("last_all", "int8"):
        result[f"float_minus_{kind}_points"] = round(means["float"] - means[f"{kind}_exported"], 2)
        result[f"{kind}_graph_minus_exported_points"] = round(means[kind] - means[f"{kind}_exported"], 2)
    result |= {f"{kind}_test": [round(point, 2) for point in points] for kind, points in tests.items()}
    if arguments.rounding:
        result["rounding"] = rounded(data, scaled, test, seeds, arguments.epochs, loud=not arguments.json)
    result |= {
        "epochs": arguments.epochs,
        "seconds": round(time.monotonic() - started),
        "load_average": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
