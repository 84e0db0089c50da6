"""The golden self-test: a runtime must give the bundle's loss, outputs and gradients before it may train.

One runtime returns wrong gradients for a legal operator without an error; this is what finds it. Run it when a bundle
is installed and after every upgrade of a runtime.
"""

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.errors import Refusal
from accord.runtimes.port import Runtime

TOLERANCE = 1e-4
"""Of a tensor's largest gradient: right float32 runtimes stay under 1e-5, wrong ones are off by 1e-2 and more."""
_TINY = 1e-6
"""A tensor whose gradient is below this part of the largest tensor's is compared on that scale."""


def check_golden(runtime: Runtime, bundle: Bundle) -> float:
    """Run the golden rows; return the largest relative error that was seen.

    Raises:
        Refusal: `GoldenMismatch`, with the number that came out and the number that should have.
    """
    manifest, golden = bundle.manifest, bundle.golden
    x, y = golden.examples(manifest)
    loss, outputs = golden.expected(manifest)
    found, gradient = runtime.gradients(bundle.params, x, y)
    worst = _compared("the loss", np.array([found]), np.array([loss]), max(1.0, abs(loss)))
    peak = max(1.0, float(np.abs(outputs).max()))
    worst = max(worst, _compared("an output", runtime.predict(bundle.params, x).ravel(), outputs.ravel(), peak))
    checks = golden.gradient_checks(manifest)
    largest = max(scale for *_, scale in checks)
    for name, places, values, scale in checks:
        floor = max(scale, _TINY * largest, 1e-12)
        worst = max(worst, _compared(f"the gradient of {name!r}", gradient[places], values, floor))
    return worst


def _compared(what: str, found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], scale: float) -> float:
    errors = np.abs(found.astype(np.float64) - expected.astype(np.float64)) / scale
    place = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    if not errors[place] <= TOLERANCE:
        raise Refusal(
            "GoldenMismatch",
            f"{what} came out as {float(found[place]):.9g} where the bundle says {float(expected[place]):.9g}: "
            "this runtime computes the model wrongly, so it may not train it",
        )
    return float(errors[place])
