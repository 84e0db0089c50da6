"""The bundle and the runtime for what a person called the model: a builder's name, an ONNX file, or a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accord.bundle.archive import Bundle, read_bundle
from accord.bundle.manifest import REGRESSIONS
from accord.entropy import Entropy
from accord.errors import CodecError, Refusal, UsageError
from accord.runtimes import Runtime, check_golden, open_runtime, reference
from simulation.task import Task

LOSS = {"classification": "softmax", "binary": "binary", "regression": "mse"}
LARGEST = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Model:
    """A bundle, its bytes, and runtimes that have passed the bundle's golden vectors, in the order asked for."""

    bundle: Bundle = field(repr=False)
    data: bytes = field(repr=False)
    runtimes: tuple[Runtime, ...] = field(repr=False)

    @property
    def runtime(self) -> Runtime:
        """The first one."""
        return self.runtimes[0]


def make(  # noqa: PLR0917 - what, for which data, how
    name: str,
    row_shape: tuple[int, ...],
    task: Task,
    batch: int,
    entropy: Entropy,
    tier: str = "float",
    runtimes: Sequence[str] = ("auto",),
) -> Model:
    """Return the model that `name` asks for.

    Args:
        name: `linear`, `mlp:64,32`, `cnn:small`, `cnn:medium`, `mobilenet:25`, `gru:64`, an ONNX
            file, or a bundle.
        row_shape: of one row of the data.
        task: decides outputs and loss.
        batch: the largest batch.
        entropy: decides initial weights.
        tier: float, last-all to train against int8 rounding, or int8 to do so with int8 weights; a bundle has its own.
        runtimes: names for `open_runtime`.

    Raises:
        UsageError: the file is missing, the model does not fit the data, or a runtime can't train it.
        Refusal: `GoldenMismatch`: a runtime computes it wrongly.
    """
    path = Path(name)
    if path.is_file() and path.suffix != ".onnx":
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{name} is larger than {LARGEST} bytes")
        data = path.read_bytes()
        _check_bundle(data, name)
    elif (
        tier == "float"
        and set(runtimes) <= {"auto", "reference"}
        and name.split(":", maxsplit=1)[0] in ("linear", "mlp")
    ):
        data = reference.make_bundle(name, row_shape, task.outputs, LOSS[task.kind], batch, entropy)
    else:
        try:
            import quantize  # noqa: PLC0415 - onnx is needed for these models only
        except ModuleNotFoundError as error:
            raise UsageError(f"--model {name} needs {error.name}: pip install 'accord-fl[quantize]'") from error
        choices = quantize.Choices(tier=tier, tflite=bool({"litert", "tflite"} & set(runtimes)))
        data = quantize.make_bundle(name, row_shape, task.outputs, LOSS[task.kind], batch, entropy, None, choices)
    bundle = read_bundle(data, limit=LARGEST, publisher=None)
    manifest = bundle.manifest
    losses = REGRESSIONS if task.kind == "regression" else (LOSS[task.kind],)
    if (manifest.input_shape, manifest.outputs) != (row_shape, task.outputs) or manifest.loss not in losses:
        raise UsageError(
            f"the model takes rows of shape {manifest.input_shape} and gives {manifest.outputs} outputs for "
            f"{manifest.loss}; the data has rows of shape {row_shape} and needs {task.outputs} for "
            f"{' or '.join(losses)}",
        )
    if manifest.batch < batch:
        raise UsageError(
            f"the bundle was made for batches of at most {manifest.batch}: use --batch-size {manifest.batch}"
        )
    opened = tuple(open_runtime(bundle, runtime) for runtime in runtimes)
    for runtime in opened:
        check_golden(runtime, bundle)
    return Model(bundle=bundle, data=data, runtimes=opened)


def _check_bundle(data: bytes, name: str) -> None:
    """Refuse a file that is no bundle, with its name and with what would be one."""
    try:
        read_bundle(data, limit=LARGEST, publisher=None)
    except (Refusal, CodecError) as error:
        raise UsageError(
            f"--model {name} is neither an .onnx file nor a whole bundle that `accord quantize` wrote: {error}"
        ) from error
