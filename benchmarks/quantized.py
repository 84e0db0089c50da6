"""What int8 costs in accuracy: quantization-aware training beside float training, and the exported model beside both.

`cnn:small` learns the first 10,000 rows of Fashion-MNIST from the same initial weights, once in float and once with all
of it rounded (tier last-all). Each of the two has the learning rate that is best on validation rows, over all seeds;
test rows are looked at once, at the end. The last line is one JSON object; points are hundredths of accuracy.
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
from accord.entropy import SeededEntropy
from accord.optimisers import Sgd
from accord.runtimes import open_runtime
from accord.runtimes.onnx import Exported
from accord.tensors import Vector
from quantize.making import Choices, make
from simulation.datasets import Dataset, load

ROWS, VALIDATION, BATCH, MOMENTUM = 10_000, 2_000, 32, 0.9
TIERS = {"float": "float", "int8": "last-all"}
RATES = (0.01, 0.02, 0.05)


def bundle_of(tier: str, data: Dataset, seed: int) -> Bundle:
    choices = Choices(tier=tier)
    return make("cnn:small", data.row_shape, 10, "softmax", BATCH, SeededEntropy(seed), None, choices).bundle


def trained(bundle: Bundle, x: Any, y: Any, *, rate: float, epochs: int, seed: int) -> Vector:
    """Train with a rate that falls in a straight line; each epoch is a round, after which the momentum is forgotten."""
    runtime, params = open_runtime(bundle, "onnx"), bundle.params.copy()
    gradient, rng = np.empty_like(params), np.random.default_rng(seed)
    for epoch in range(epochs):
        optimiser = Sgd(params, learning_rate=rate * (1 - epoch / epochs), momentum=MOMENTUM)
        order = rng.permutation(len(y))
        for at in range(0, len(y), BATCH):
            batch = order[at : at + BATCH]
            runtime.gradients(params, x[batch], y[batch], gradient)
            optimiser.step(params, gradient)
    return params


def accuracy(outputs: Any, y: Any) -> float:
    return 100 * float((outputs.argmax(axis=1) == y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    started, seeds = time.monotonic(), range(arguments.seeds)
    data = load("fashion-mnist", rows=ROWS)
    fit = slice(0, ROWS - VALIDATION)
    mean, factor = data.x_train[fit].mean(), 1 / data.x_train[fit].std()
    scaled = (data.x_train - mean) * factor
    units = Units(mean=np.full(1, mean, np.float32), factor=np.full(1, factor, np.float32))
    result: dict[str, Any] = {}
    tests: dict[str, list[float]] = {"float": [], "int8": [], "exported": []}
    for kind, tier in TIERS.items():
        bundles = [bundle_of(tier, data, seed) for seed in seeds]
        runtimes = [open_runtime(bundle, "onnx") for bundle in bundles]
        found: dict[float, list[tuple[float, Vector]]] = {}
        for rate in RATES:
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
            x = (data.x_test - mean) * factor
            tests[kind].append(accuracy(runtimes[seed].predict(params, x), data.y_test))
            if kind == "int8":
                model = Exported(export(bundles[seed], params, units, {}))
                tests["exported"].append(accuracy(model.predict(data.x_test), data.y_test))
    means = {kind: statistics.mean(points) for kind, points in tests.items()}
    result |= {
        "float_minus_int8_points": round(means["float"] - means["exported"], 2),
        "graph_minus_exported_points": round(means["int8"] - means["exported"], 2),
        "float_test": [round(points, 2) for points in tests["float"]],
        "int8_graph_test": [round(points, 2) for points in tests["int8"]],
        "int8_exported_test": [round(points, 2) for points in tests["exported"]],
        "epochs": arguments.epochs,
        "seconds": round(time.monotonic() - started),
        "load_average": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
