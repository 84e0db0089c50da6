"""Our side: a step of a bundle as a device takes it, runtime and optimiser included. Needs what a device has."""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
from measuring import report

from accord.bundle.archive import read_bundle
from accord.optimisers import Sgd
from accord.runtimes import open_runtime


def main() -> None:
    folder, steps, frozen, runtime_name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    bundle = read_bundle((folder / "bundle").read_bytes(), publisher=None)
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    runtime = open_runtime(bundle, runtime_name)
    params = bundle.params.copy()
    gradient = np.empty_like(params)
    optimiser = Sgd(params, learning_rate=float((folder / "rate").read_text()))
    features = runtime.prepared(x)

    def step() -> float:
        rows = features if frozen == "cached" else runtime.prepared(x)
        loss, _ = runtime.gradients(params, rows, y, gradient)
        optimiser.step(params, gradient)
        return loss

    package = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}[runtime_name]
    report(step, steps, f"{package} {importlib.metadata.version(package)}")


if __name__ == "__main__":
    main()
