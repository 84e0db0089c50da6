"""What `accord quantize` tells of a bundle: facts for programs, and the same as a table. Works out nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accord.bundle.export import Units, export
from accord.update.snapshot import columns_of
from quantize.accuracy import Accuracy
from quantize.costs import Costs
from quantize.int8.rounding import RANGE
from quantize.making import Made
from quantize.models import onnx_model


@dataclass(frozen=True, kw_only=True)
class Report:
    """A bundle, where it was written, what it costs and, where rows with targets were given, how right it is."""

    made: Made
    path: Path
    costs: Costs
    accuracy: Accuracy | None

    def facts(self) -> dict[str, Any]:
        """Return what `--json` prints; bytes, seconds and counts are numbers."""
        made, costs, found = self.made, self.costs, self.accuracy
        manifest, bundle = made.bundle.manifest, made.bundle
        loss, _ = bundle.golden.expected(manifest)
        scales = sum(name.endswith(RANGE) for name, _ in manifest.layout.tensors) if made.parts else 0
        float_bytes, int8_bytes = app_bytes(made)
        return {
            "bundle": str(self.path),
            "digest": bundle.digest.hex(),
            "bytes": len(made.data),
            "model": manifest.model,
            "tier": manifest.tier,
            "scaled": manifest.scaled,
            "loss": manifest.loss,
            "input_shape": list(manifest.input_shape),
            "outputs": manifest.outputs,
            "batch": manifest.batch,
            "parameters": manifest.layout.size,
            "trained_weights": manifest.layout.size - scales,
            "trained_scales": scales,
            "weights": made.weights,
            "tensors": [
                {"name": name, "shape": list(shape), "exponent": exponent}
                for (name, shape), exponent in zip(manifest.layout.tensors, manifest.exponents, strict=True)
            ],
            "parts": {part.name: part.size for part in manifest.parts},
            "app_bytes": {"float": float_bytes, "int8": int8_bytes},
            "activation_bytes": costs.activations,
            "feature_bytes_per_row": costs.features,
            "step": {"seconds": costs.seconds, "steps": costs.steps},
            "memory_bytes": {**costs.memory, "all": sum(costs.memory.values())},
            "accuracy": None
            if found is None
            else {
                "measure": found.measure,
                "rows": found.rows,
                "float": found.original,
                "in_graph": found.training,
                "exported": found.exported,
            },
            "golden_loss": loss,
            "golden_error": made.golden_error,
            "publisher": None if bundle.publisher is None else bundle.publisher.hex(),
            "notes": list(made.notes),
        }

    def table(self) -> str:
        """Return the table that people read."""
        made, facts = self.made, self.facts()
        manifest = made.bundle.manifest
        width = max(18, *(len(name) for name, _ in manifest.layout.tensors))
        lines = [f"{'trained tensor':<{width}}  {'shape':<16} {'parameters':>11}"]
        for place in manifest.layout.places:
            shape = "x".join(map(str, place.shape)) or "1"
            lines.append(f"{place.name:<{width}}  {shape:<16} {place.size:>11,}")
        lines.append("")

        def row(name: str, value: str) -> None:
            lines.append(f"{name:<{width}}  {value}")

        scales = f", and {facts['trained_scales']} scales" if facts["trained_scales"] else ""
        row("tier", f"{manifest.tier}: trains {facts['trained_weights']:,} of {facts['weights']:,} weights{scales}")
        fed = "scaled by the fleet's means and deviations" if manifest.scaled else "as they are"
        row("rows", f"{'x'.join(map(str, manifest.input_shape))}, {fed}; at most {manifest.batch} in a batch")
        for part in manifest.parts:
            row(part.name, f"{part.size:,} bytes")
        row("bundle", f"{len(made.data):,} bytes, digest {made.bundle.digest.hex()[:16]}…: {self.path.name}")
        row("model for an app", _app(facts["app_bytes"]))
        row("kept activations", f"{_size(self.costs.activations)} for the backward pass of a whole batch")
        if self.costs.features:
            row("kept features", f"{self.costs.features:,} bytes for each row, behind the frozen part")
        row(
            "a step here",
            f"{1000 * self.costs.seconds:.3g} ms, the median of {self.costs.steps}: a whole batch, one thread",
        )
        memory = self.costs.memory
        row("memory of training", f"about {_size(sum(memory.values()))}, estimated; the rows come on top")
        for name, size in memory.items():
            if size:
                row(f"  {name}", _size(size))
        if self.accuracy is not None:
            row(self.accuracy.measure, _figures(self.accuracy))
        tested = "onnxruntime and LiteRT here are" if made.bundle.tflite else "onnxruntime here is"
        away = f"{tested} within {made.golden_error:.1e} of the exact gradients"
        row("golden loss", f"{facts['golden_loss']:.6f}; {away}")
        row("signature", "signed" if made.bundle.publisher else "none: devices that pin a publisher refuse it")
        return "\n".join([*lines, *made.notes])


def app_bytes(made: Made) -> tuple[int, int | None]:
    """Return the bytes of the model that an app gets: in float32, and in int8, None where nothing is rounded."""
    whole = len(onnx_model(made.network).SerializeToString())
    if made.parts is None:
        return whole, None
    columns = columns_of(made.bundle.manifest.input_shape)
    units = Units(mean=np.zeros(columns, np.float32), factor=np.ones(columns, np.float32))
    return whole, len(export(made.bundle, made.bundle.params, units, {}))


def _app(sizes: Mapping[str, int | None]) -> str:
    if sizes["int8"] is None:
        return f"{sizes['float']:,} bytes in float32; tier float makes none in int8"
    return f"{sizes['int8']:,} bytes in int8, {sizes['float']:,} in float32"


def _size(count: int) -> str:
    """Return bytes with three digits, in the unit that needs no more."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1000 << (power - 10):
            return f"{count / (1 << power):.3g} {unit}"
    return f"{count} bytes"


def _figures(found: Accuracy) -> str:
    pairs = (("float", found.original), ("in the training graph", found.training), ("exported int8", found.exported))
    words = ", ".join(f"{name} {value:.4f}" for name, value in pairs if value is not None)
    return f"{words}, before training, on {found.rows:,} rows"
