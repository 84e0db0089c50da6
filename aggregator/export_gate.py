"""The gate between a trained version and a release: what its exported int8 model loses, as devices measured it."""

from collections.abc import Iterable, Mapping

from accord.plan import MICRO
from accord.wire.versions import Measurement
from aggregator.registry_values import Registered, RegistryError

EXPORT_GAP = "export_gap"
"""The figure that is looked at: what the exported model loses, in rows that are right or in squared error."""


def export_figures(figures: Mapping[str, list[float]]) -> dict[str, float]:
    """Return what the exported model reaches and loses, per row of the devices that told of it, from sums of tails.

    `exported_emulated` is the part of those rows on which it was emulated in float32: LiteRT runs no ONNX model.
    """
    rows = figures.get("exported_rows", [0.0])[0]
    if not rows:
        return {}
    emulated = {"exported_emulated": figures.get("emulated_rows", [0.0])[0] / rows}
    if "exported_loss" in figures:
        inside, outside = figures["graph_loss"][0], figures["exported_loss"][0]
        return {"exported_loss": outside / rows, EXPORT_GAP: (outside - inside) / rows, **emulated}
    inside, outside = figures["graph_correct"][0], figures["exported_correct"][0]
    return {"exported_accuracy": outside / rows, EXPORT_GAP: (inside - outside) / rows, **emulated}


def check_export(entry: Registered, measured: Iterable[Measurement]) -> None:
    """Let a version pass that its plan asks nothing of, or whose exported model was run and is good enough.

    Args:
        entry: the version.
        measured: what rounds measured of it, by round; the newest counts.

    Raises:
        RegistryError: its exported model is worse than its plan allows, or no device has run it.
    """
    version = entry.version
    gate = version.data.task.gate / MICRO
    if not gate:
        return
    what = f"the int8 model of version {version.version} of job {version.job!r}"
    gaps = [found.values[EXPORT_GAP] for found in measured if EXPORT_GAP in found.values]
    if not gaps:
        raise RegistryError(
            f"no device has run {what} yet: it is measured in the round after the one that made it, or in the job's "
            "last one, by devices with onnxruntime, LiteRT or tflite-runtime; [job] export_gate = 0 asks for none"
        )
    if gaps[-1] > gate:
        raise RegistryError(
            f"{what} is worse than the one in training by {gaps[-1]:.4f}, and its plan allows {gate:.4f}: calibrate "
            "the bundle on more real rows, or train the scales of its activations"
        )
