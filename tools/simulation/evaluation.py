"""Metrics from the summed evaluation tails of a round, and from the pooled test rows of a simulator."""

from collections.abc import Mapping, Sequence

import numpy as np

from accord.runtimes import Runtime
from accord.update.snapshot import Snapshot
from edge_sdk.transforms import original
from simulation.metrics import Evaluation, auprc_of_histograms, auroc_of_histograms, evaluate, r2_of_sums
from simulation.partition import DeviceData
from simulation.task import Kind


def of_sums(kind: Kind, figures: Mapping[str, list[float]]) -> Evaluation:
    """Return the metrics of a round from what its tails sum to."""
    rows = figures["count"][0]
    if rows == 0:
        return Evaluation(rows=0)
    if kind == "regression":
        squared, total = figures["squared"][0], figures["positive"][0] - figures["negative"][0]
        return Evaluation(
            rows=int(rows),
            loss=squared / rows,
            mae=figures["absolute"][0] / rows,
            r2=r2_of_sums(rows, squared, total, figures["target_squared"][0]),
        )
    loss, accuracy = figures["loss"][0] / rows, figures["correct"][0] / rows
    if kind == "classification":
        return Evaluation(rows=int(rows), loss=loss, accuracy=accuracy)
    ones, zeros = np.array(figures["ones"]), np.array(figures["zeros"])
    return Evaluation(
        rows=int(rows),
        loss=loss,
        accuracy=accuracy,
        auroc=auroc_of_histograms(ones, zeros),
        auprc=auprc_of_histograms(ones, zeros),
    )


def pooled(
    kind: Kind, transform: str, runtime: Runtime, snapshot: Snapshot, devices: Sequence[DeviceData]
) -> Evaluation:
    """Return the metrics on all test rows together, which only a simulator can see."""
    held = [device for device in devices if len(device.y_test)]
    if not held:
        return Evaluation(rows=0)
    x = np.concatenate([device.x_test for device in held])
    y = np.concatenate([device.y_test for device in held])
    with np.errstate(all="ignore"):  # of a model that exploded, metrics are undefined
        outputs = runtime.predict(snapshot.params, runtime.prepared(snapshot.scaling.inputs(x))).astype(np.float64)
    if kind == "regression":
        outputs = original(transform, snapshot.scaling.originals(outputs[:, 0]))
    return evaluate(kind, y, outputs)
