"""A training step of our bundles beside a peer's: processor time, peak memory, and megabytes installed.

Both sides have the same layers, weights and rows, one thread, and SGD; where nothing is rounded their first losses must
agree. Each runs in an environment of its own in a cache folder, in fresh processes that take turns; figures are medians
of them. `litert` is no stranger: it is the same bundle in ai-edge-litert beside onnxruntime. The last line is one JSON
object. For tiers with a frozen part `step_ms` runs it in every step; `cached` starts at what it gave, as devices do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from peers.environments import environment, installed_mb
from peers.nets import NAMES, Net, as_onnx, net

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from quantize.making import Choices, make

HERE = Path(__file__).resolve().parent / "peers"
SCRIPTS = {
    "torch": ["torch_step.py"],
    "onnxruntime-training": ["onnxruntime_training_step.py"],
    "litert": ["accord_step.py", "litert"],
}
OURS = ["accord_step.py", "onnx"]
RATE = 0.01
AGREEMENT = 1e-4
"""Between the first losses of two sides that round nothing."""


def written(folder: Path, found: Net, tier: str, peer: str) -> list[str]:
    """Write what both sides read; return the names of the trained layers."""
    model, rng = folder / "model.onnx", np.random.default_rng(3)
    onnx.save(as_onnx(found), model)
    x = rng.normal(size=(found.batch, *found.input_shape)).astype(np.float32)
    rows = rng.normal(size=(4 * found.batch, *found.input_shape)).astype(np.float32)
    choices = Choices(tier=tier, rows=None if tier == "float" else rows, tflite=peer == "litert")
    entropy = SeededEntropy(1)
    made = make(str(model), found.input_shape, found.outputs, "softmax", found.batch, entropy, None, choices)
    (folder / "bundle").write_bytes(made.data)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", rng.integers(0, found.outputs, found.batch))
    np.savez(folder / "weights.npz", **found.weights)
    (folder / "rate").write_text(str(RATE))
    names = read_bundle(made.data, publisher=None).manifest.tensor_names
    trained = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in names))
    (folder / "layers.json").write_text(json.dumps([found.layers, trained]))
    return trained


def call(python: Path, words: list[str], folder: Path, steps: int, frozen: str) -> dict[str, Any]:
    clean = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [str(python), str(HERE / words[0]), str(folder), str(steps), frozen, *words[1:]]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(
    pythons: dict[str, Path], peer: str, folder: Path, frozen: str, *, repeats: int, seconds: float
) -> dict[str, Any]:
    """Return medians of both sides over processes that take turns."""
    words = {"ours": OURS, "peer": SCRIPTS[peer]}
    trial = {side: call(pythons[side], words[side], folder, 5, frozen) for side in words}
    steps = {side: max(10, min(2000, round(1000 * seconds / found["ms"]))) for side, found in trial.items()}
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in words}
    for _ in range(repeats):
        for side, script in words.items():
            runs[side].append(call(pythons[side], script, folder, steps[side], frozen))
    ms, peak = (
        {side: statistics.median(run[key] for run in found) for side, found in runs.items()}
        for key in ("ms", "peak_mb")
    )
    return {
        "step_ms": round(ms["ours"], 3),
        "peer_step_ms": round(ms["peer"], 3),
        "ratio": round(ms["ours"] / ms["peer"], 3),
        "every_ms": {side: [round(run["ms"], 3) for run in found] for side, found in runs.items()},
        "peak_rss_mb": round(peak["ours"], 1),
        "peer_peak_rss_mb": round(peak["peer"], 1),
        "rss_ratio": round(peak["ours"] / peak["peer"], 3),
        "first_loss": runs["ours"][0]["loss"],
        "peer_first_loss": runs["peer"][0]["loss"],
        "versions": [runs["ours"][0]["version"], runs["peer"][0]["version"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=NAMES, default="mlp")
    parser.add_argument("--tier", choices=("float", "last-2", "head"), default="float")
    parser.add_argument("--peer", choices=tuple(SCRIPTS), default="torch")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes of each side")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a process works on its steps")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    ours, theirs = environment("accord-onnx"), environment(arguments.peer)
    lengths = {"repeats": arguments.repeats, "seconds": arguments.seconds}
    pythons, found = {"ours": ours, "peer": theirs}, net(arguments.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trained = written(folder, found, arguments.tier, arguments.peer)
        if not arguments.json:
            print(f"{arguments.model}, tier {arguments.tier}: {', '.join(trained)} trained", flush=True)
        result = compared(pythons, arguments.peer, folder, "whole", **lengths)
        result["frozen_part"] = "none"
        if arguments.tier != "float":
            result["frozen_part"] = "run in every step"
            cached = compared(pythons, arguments.peer, folder, "cached", **lengths)
            result["cached"] = {key: value for key, value in cached.items() if key != "versions"}
    apart = abs(result["first_loss"] - result["peer_first_loss"])
    if arguments.tier == "float" and apart > AGREEMENT:
        sys.exit(f"the sides do not compute the same: their first losses differ by {apart}")
    result |= {
        "installed_mb": installed_mb(ours),
        "peer_installed_mb": installed_mb(theirs),
        "model": arguments.model,
        "tier": arguments.tier,
        "peer": arguments.peer,
        "batch": found.batch,
        "parameters": sum(value.size for value in found.weights.values()),
        "trained": trained,
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
