"""From a model to the bytes of a training bundle: divide, differentiate, work out golden vectors twice, sign, pack."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx

from accord.bundle.archive import Bundle, read_bundle, write_bundle
from accord.bundle.forward import forward_graph
from accord.bundle.manifest import FORMAT, Specification
from accord.entropy import Entropy
from accord.errors import AccordError, CodecError, UsageError
from accord.runtimes import check_golden, initial, open_runtime
from accord.signing import SigningKey
from accord.tensors import layout_of
from quantize.differentiate.backward import TrainingGraph, training_graph
from quantize.freezing import frozen_before
from quantize.golden import golden_vectors
from quantize.int8.rounding import RANGE
from quantize.int8.tiers import Divided, checked_tier, divided
from quantize.models import FILE, Source, read_model
from quantize.network import OPSET, Network

ATTEMPTS = 24
"""Golden rows on the edge of a ReLU, a tie of a maximum or the middle of two int8 steps are drawn again."""
STARTING_ROWS = 64
"""Rows of standard normal numbers on which scales that will be trained start, where no real rows are given."""
RANGE_EXPONENT = 1
"""A round may move the base-2 logarithm of an activation's scale by ±2."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is trained of a model, and how its activations are rounded.

    - `tier`: float, head, last-2 (or another number), last-all, int8.
    - `rows`: real rows, float32 (N, *input_shape), as the model takes them; the grids of activations come from them.
    - `scaled`: devices scale their rows by the fleet's means and deviations before the model sees them; never where it
      takes ids.
    - `freeze_before`: a tensor of the model; only weights behind it are trained. Empty: nothing is frozen by name.
    - `tflite`: the training graph also as a TFLite model, for devices without onnxruntime; needs `ai-edge-litert`.
    - `train_scales`: scales of activations are trained with the weights and averaged, for a net that starts from
      nothing. None leaves the choice to the tier: trained for built-in models, fixed for others.
    """

    tier: str = "float"
    freeze_before: str = ""
    rows: Array | None = None
    scaled: bool = True
    tflite: bool = False
    train_scales: bool | None = None

    def __post_init__(self) -> None:
        checked_tier(self.tier)


PLAIN = Choices()


@dataclass(frozen=True, kw_only=True)
class Made:
    """A bundle's bytes, the same bundle opened, what was left out of the model, and the largest golden error seen.

    `whole` is the float model, and `network` the same with what was frozen by name among its constants; `parts` is how
    a tier divided it, None for tier float; `trained` is what was differentiated; nothing before the tensor
    `frozen_before` is trained, and it is empty where everything is.
    """

    data: bytes
    bundle: Bundle
    notes: tuple[str, ...]
    golden_error: float
    network: Network
    trained: Network
    parts: Divided | None
    whole: Network
    frozen_before: str

    @property
    def weights(self) -> int:
        """How many numbers of the whole model could be trained."""
        return sum(value.size for value in self.whole.params.values())


def make_bundle(  # noqa: PLR0917 - the order of the command line
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    batch: int,
    entropy: Entropy,
    signing_key: SigningKey | None = None,
    choices: Choices = PLAIN,
) -> bytes:
    """Return the bytes of a training bundle; see `make`."""
    return make(model, input_shape, outputs, loss, batch, entropy, signing_key, choices).data


def make(  # noqa: PLR0917 - the same
    model: str,
    input_shape: tuple[int, ...],
    outputs: int,
    loss: str,
    batch: int,
    entropy: Entropy,
    signing_key: SigningKey | None = None,
    choices: Choices = PLAIN,
) -> Made:
    """Make a training bundle and test it in onnxruntime, and in LiteRT where it has a graph for that.

    Args:
        model: `linear`, `mlp:64,32`, `cnn:small`, `cnn:medium`, `mobilenet:25`, `gru:64`, or the path of an ONNX model.
        input_shape: one row's.
        outputs: classes, or values per row.
        loss: softmax, binary, mse or huber.
        batch: the largest number of rows of one gradient.
        entropy: initial weights (of a built-in model) and golden rows; a seeded one gives the same bytes every time.
        signing_key: the publisher's.
        choices: what is trained, and how activations are rounded.

    Raises:
        UsageError: the model can't be read, built, divided or differentiated.
        Refusal: `GoldenMismatch`: a runtime installed here computes the bundle wrongly.
    """
    return make_from(read_model(model, input_shape, outputs, loss, entropy), loss, batch, entropy, signing_key, choices)


def make_from(  # noqa: PLR0917 - the same, but for the model
    source: Source,
    loss: str,
    batch: int,
    entropy: Entropy,
    signing_key: SigningKey | None = None,
    choices: Choices = PLAIN,
) -> Made:
    """Make the bundle of a model that was read already; see `make`."""
    kind, network = source.kind, source.network
    if choices.freeze_before:
        network = frozen_before(network, choices.freeze_before)
    parts = None if choices.tier == "float" else _divided(kind, network, choices, entropy)
    trained = network if parts is None else parts.train
    graph = training_graph(trained, loss)
    layout = layout_of(trained.params)
    params = layout.flatten(trained.params if parts is None else parts.start(trained.params))
    exponents = [
        RANGE_EXPONENT if name.endswith(RANGE) else exponent
        for (name, _), exponent in zip(layout.tensors, initial.exponents(layout, params), strict=True)
    ]
    try:
        specification = Specification(
            format=FORMAT,
            model=kind,
            tier=choices.tier,
            loss=loss,
            input_shape=source.input_shape,
            outputs=network.outputs,
            scaled=choices.scaled and not network.ids,
            batch=batch,
            opset=OPSET,
            layout=layout,
            exponents=tuple(exponents),
            input_names=graph.input_names,
            output_names=graph.output_names,
        )
    except CodecError as error:
        raise UsageError(str(error)) from error
    train = graph.model.SerializeToString(deterministic=True)
    infer = None if parts is None else parts.infer.SerializeToString(deterministic=True)
    tflite = _tflite(training_graph(trained, loss, plain=False), parts) if choices.tflite else None
    for attempt in range(ATTEMPTS):
        golden = golden_vectors(specification, graph, network, parts, entropy.child("golden", attempt))
        data = write_bundle(
            specification,
            params=params,
            golden=golden,
            train=train,
            tflite=tflite,
            infer=infer,
            quantization=None if parts is None else parts.quantization,
            signing_key=signing_key,
        )
        bundle = read_bundle(data, publisher=signing_key.public if signing_key else None)
        try:
            runtimes = ["onnx", *(["litert"] if choices.tflite else [])]
            worst = max(check_golden(open_runtime(bundle, name), bundle) for name in runtimes)
        except AccordError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        return Made(
            data=data,
            bundle=bundle,
            notes=network.notes,
            golden_error=worst,
            network=network,
            trained=trained,
            parts=parts,
            whole=source.network,
            frozen_before=(parts.quantization.cut.removesuffix("/q") if parts else "") or choices.freeze_before,
        )
    raise AssertionError("the loop returns or raises")


def _tflite(graph: TrainingGraph, parts: Divided | None) -> bytes:
    from quantize.tflite.model import tflite_model  # noqa: PLC0415 - needs ai-edge-litert, which few bundles do

    frozen = None
    if parts is not None and parts.quantization.cut:
        frozen = onnx.load_from_string(forward_graph(parts.infer.SerializeToString(), parts.quantization.cut))
    return tflite_model(graph.model, graph.input_names, graph.output_names, frozen)


def _divided(kind: str, network: Network, choices: Choices, entropy: Entropy) -> Divided:
    train_scales = choices.train_scales
    if train_scales is None:
        train_scales = kind != FILE and choices.tier in ("last-all", "int8")
    rows = choices.rows
    if rows is None:
        if not train_scales:
            raise UsageError(f"tier {choices.tier} needs real rows to calibrate on: --calibrate DATA.npz")
        if not choices.scaled or network.ids:
            raise UsageError("rows that are not scaled need --calibrate DATA.npz, so that the first grids fit them")
        size = (STARTING_ROWS, *(int(dim or 0) for dim in network.shapes[network.x][1:]))
        rows = initial.uniform(size, 3.0**0.5, entropy.child("starting rows"))
    return divided(network, choices.tier, rows, follow=train_scales, drawn=kind != FILE)
