"""A registered version as an ONNX file that an app can run."""

from accord.bundle.archive import read_bundle
from accord.bundle.export import Units, export
from accord.update import snapshot
from accord.update.snapshot import columns_of
from aggregator.registry import Registry
from aggregator.registry_values import Registered


def exported(registry: Registry, entry: Registered) -> bytes:
    """Return the float32 ONNX model of a version: raw rows in, logits or values in original units out.

    Its metadata names the version, so that a file found anywhere can be traced.

    Raises:
        MissingBlobError: its parameters or its bundle are gone.
        DamagedBlobError: they are damaged.
        CodecError: the parameters do not fit the bundle.
    """
    version = entry.version
    bundle = read_bundle(registry.blobs.get(version.bundle))
    manifest = bundle.manifest
    found = snapshot.decode(registry.blobs.get(version.params), manifest.layout, columns_of(manifest.input_shape))
    scaling = found.scaling
    units = Units(
        mean=scaling.mean,
        factor=scaling.factor,
        target_mean=scaling.target_mean,
        target_scale=scaling.target_scale,
        transform=version.data.task.transform,
    )
    metadata = {
        "accord.job": version.job,
        "accord.version": str(version.version),
        "accord.digest": entry.digest.hex(),
        "accord.params": version.params.hex(),
    }
    return export(bundle, found.params, units, metadata)
