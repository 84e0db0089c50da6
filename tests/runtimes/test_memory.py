"""A batch that does not fit: a process whose memory is bounded, and what its runtime and its trainer say then."""

import subprocess
import sys

import pytest

STORY = """
import resource, sys
import numpy as np
from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.runtimes import open_runtime
from quantize import Choices, make_bundle

choices = Choices(tflite=sys.argv[1] == "litert")
bundle = read_bundle(make_bundle("mlp:2048,2048", (64,), 3, "softmax", 8192, SeededEntropy(3), None, choices))
runtime = open_runtime(bundle, sys.argv[1])
x, y = np.zeros((8192, 64), np.float32), np.zeros(8192, np.int64)
out = np.zeros(runtime.layout.size, np.float32)
runtime.gradients(bundle.params, x[:8], y[:8], out)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (48 << 20), resource.RLIM_INFINITY))
try:
    runtime.gradients(bundle.params, x, y, out)
except MemoryError as error:
    print("no room", str(error)[:60])
print("goes on", round(runtime.gradients(bundle.params, x[:8], y[:8], out)[0], 2))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
@pytest.mark.parametrize("name", ["onnx", "reference", "litert"])
def test_a_batch_that_does_not_fit_is_a_memory_error_and_a_small_one_goes_on(name: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", STORY, name], capture_output=True, text=True, check=False, timeout=300
    )
    assert found.stdout.startswith("no room"), found.stdout + found.stderr
    assert "goes on" in found.stdout, found.stdout + found.stderr
