"""What a device holds in memory while it trains: tier int8 beside last-all and float, each in a process of its own.

Each process opens a bundle, gives back what it needed for that, takes the round's parameters as they came, trains some
steps of plain SGD, and works out the update. Told are the bytes of what is trained, and how far
the peak of resident memory (VmHWM) rose above what the process had before, in the steps and up to the update. Rows are
drawn, one batch of them. Linux only; the last line is one JSON object.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from accord.bundle.archive import read_bundle
from accord.errors import Refusal
from accord.plan import MICRO, Training
from accord.runtimes import open_runtime
from accord.update.snapshot import Snapshot, columns_of, decode, unscaled
from edge_sdk.learner import learner_of

TIERS = ("float", "last-all", "int8")
MODELS = {"cnn:small": (1, 28, 28), "mobilenet:25": (3, 96, 96), "mlp:1024,1024": (784,)}


def peak() -> int:
    """Return the largest resident memory since it was last reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def device(path: Path, steps: int, momentum: float) -> dict[str, Any]:
    """Train in this process and return what it took."""
    bundle = read_bundle(path.read_bytes())
    manifest = bundle.manifest
    columns = columns_of(manifest.input_shape)
    came = Snapshot(params=bundle.params, scaling=unscaled(columns)).encode()
    runtime = open_runtime(bundle, "onnx")
    del bundle
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((manifest.batch, *manifest.input_shape)).astype(np.float32)
    y = rng.integers(0, manifest.outputs, manifest.batch)
    params = decode(came, manifest.layout, columns).params
    training = Training(
        epochs=1,
        batch_size=manifest.batch,
        learning_rate=MICRO // 100,
        momentum=round(momentum * MICRO),
        proximal=0,
    )
    learner = learner_of(runtime, training, params, bytes(32))
    times = []
    for _ in range(steps):
        began = time.thread_time()
        learner.step(x, y)
        times.append(time.thread_time() - began)
    trained = peak()
    learner.change(params)
    size, grid = manifest.layout.size, runtime.grid
    return {
        "parameters": size,
        "state_bytes": 4 * size if grid is None else grid.empty().nbytes,
        "steps_mb": round((trained - before) / 1e6, 1),
        "update_mb": round((peak() - before) / 1e6, 1),
        "step_ms": round(1_000 * statistics.median(times[1:]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--device", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    if arguments.device is not None:
        print(json.dumps(device(arguments.device, arguments.steps, arguments.momentum)))
        return
    from accord.entropy import SeededEntropy  # noqa: PLC0415 - a device's process needs none of it
    from quantize.making import Choices, make  # noqa: PLC0415 - the same

    found: dict[str, Any] = {}
    for model in arguments.models:
        shape, tiers = MODELS[model], found.setdefault(model, {})
        rows = np.random.default_rng(0).standard_normal((64, *shape)).astype(np.float32)
        for tier in TIERS:
            choices = Choices(tier=tier, rows=None if tier == "float" else rows)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "bundle"
                try:
                    made = make(model, shape, 10, "softmax", arguments.batch, SeededEntropy(0), None, choices)
                except Refusal as refusal:
                    tiers[tier] = str(refusal)
                else:
                    path.write_bytes(made.data)
                    words = [sys.executable, __file__, "--device", str(path)]
                    words += ["--steps", str(arguments.steps), "--momentum", str(arguments.momentum)]
                    ran = subprocess.run(words, check=True, capture_output=True, text=True)
                    tiers[tier] = json.loads(ran.stdout)
            if not arguments.json:
                print(f"{model}, {tier}: {tiers[tier]}", flush=True)
    print(json.dumps({"models": found, "batch": arguments.batch, "load_average": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
