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
"""Of a tensor's largest gradient: right float32 runtimes stay under 1e-5, wrong ones are off by 1e-2 and more.

Where activations are rounded this holds only at the golden parameters, which keep every value off a rounding's edge.
"""
STEPS = 4
"""Of an int8 feature: roundings of a deep frozen part add up."""
FEATURE_TOLERANCE = 1e-2
"""Of the largest float feature behind a frozen part with int8 operators."""
_SMALL = 1e-3
"""A tensor whose gradient is below this part of the largest tensor's is compared on that scale: what is left of larger
terms that cancel out, such as for the bias of attention's keys, has no digits of its own in float32."""


def check_golden(runtime: Runtime, bundle: Bundle) -> float:
    """Run the golden rows; return the largest relative error that was seen.

    Raises:
        Refusal: `GoldenMismatch`, with the number that came out and the number that should have.
    """
    manifest, golden = bundle.manifest, bundle.golden
    x, y = golden.examples(manifest)
    loss, outputs = golden.expected(manifest)
    params, prepared = golden.params(bundle.params), _prepared(runtime, bundle, x)
    found, gradient = runtime.gradients(params, prepared, y)
    worst = _compared("the loss", np.array([found]), np.array([loss]), max(1.0, abs(loss)))
    peak = max(1.0, float(np.abs(outputs).max()))
    worst = max(worst, _compared("an output", runtime.predict(params, prepared).ravel(), outputs.ravel(), peak))
    checks = golden.gradient_checks(manifest)
    largest = max(scale for *_, scale in checks)
    for name, places, values, scale in checks:
        floor = max(scale, _SMALL * largest, 1e-12)
        worst = max(worst, _compared(f"the gradient of {name!r}", gradient[places], values, floor))
    return worst


def _prepared(runtime: Runtime, bundle: Bundle, x: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
    """Compare what the frozen part gives, and return what it should give: the rest is tested from right features on.

    Integer kernels may round a value that lies between two steps to either; a wrong one is off by many.
    """
    quantization = bundle.quantization
    if quantization is None or not quantization.cut:
        return runtime.prepared(x)
    expected = bundle.golden.frozen(quantization)
    found = runtime.prepared(x)
    gaps = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    scale = 1.0 if quantization.feature_type == "int8" else max(1e-12, float(np.abs(expected).max()))
    allowed = STEPS if quantization.feature_type == "int8" else FEATURE_TOLERANCE
    place = int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps)))
    if not gaps.ravel()[place] <= allowed * scale:
        raise Refusal(
            "GoldenMismatch",
            f"the frozen part gave {float(found.ravel()[place]):.9g} where the bundle says "
            f"{float(expected.ravel()[place]):.9g}: this runtime computes the model wrongly, so it may not train it",
        )
    return expected


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
