"""What a step is said to take is what a fresh process takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from accord.entropy import SeededEntropy
from quantize.costs import costs_of
from quantize.making import Choices, make

STEPS = """
import sys
import numpy as np
from pathlib import Path
from accord.bundle.archive import read_bundle
from accord.optimisers import Sgd
from accord.runtimes import open_runtime

bundle = read_bundle(Path(sys.argv[1]).read_bytes())
runtime, manifest = open_runtime(bundle, "onnx"), bundle.manifest
x = np.random.default_rng(0).standard_normal((manifest.batch, *manifest.input_shape)).astype(np.float32)
y, params = np.zeros(manifest.batch, np.int64), bundle.params.copy()
gradient, optimiser = np.empty_like(params), Sgd(params, learning_rate=1e-6, momentum=0.9)
for _ in range(4):
    runtime.gradients(params, x, y, gradient)
    optimiser.step(params, gradient)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(1024 * int(peak.split()[1]) - x.nbytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is Linux's to tell")
@pytest.mark.parametrize(
    ("model", "shape", "tier"),
    [("mlp:256,128", (784,), "float"), ("mobilenet:10", (3, 96, 96), "last-all")],
    ids=["few activations", "many, and rounded"],
)
def test_the_memory_of_training_is_within_a_tenth(
    model: str, shape: tuple[int, ...], tier: str, tmp_path: Path
) -> None:
    """Of the libraries as many pages are in memory as the machine likes: ten MB more or less for the same process."""
    said, found = memory(model, shape, tier, tmp_path)
    said_of_a_small_one, small = memory("linear", (4,), "float", tmp_path)
    assert abs(small / said_of_a_small_one - 1) < 0.25
    assert abs((said - said_of_a_small_one + small) / found - 1) < 0.1, (said, found, said_of_a_small_one, small)


def memory(model: str, shape: tuple[int, ...], tier: str, folder: Path) -> tuple[int, int]:
    """Return what a step of a model is said to take, and what a process of its own took, in bytes."""
    made = make(model, shape, 10, "softmax", 32, SeededEntropy(4), None, Choices(tier=tier))
    path = folder / "bundle"
    path.write_bytes(made.data)
    found = subprocess.run([sys.executable, "-c", STEPS, str(path)], capture_output=True, text=True, check=True)
    return sum(costs_of(made, None).memory.values()), int(found.stdout)
