"""A model as rows of a picture: what each node is, which tensors feed it, which block it is in. Draws nothing."""

from dataclasses import dataclass

from quantize.int8.blocks import blocks, cuts
from quantize.int8.tensors import rounded_tensors
from quantize.making import Made
from quantize.network import Network

TRAINED, FROZEN, PLAIN, INPUT = "trained", "frozen", "plain", "input"
"""What a node does with weights: trains them, keeps them, has none; or it is the input."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One node, in topological order.

    `sources` are the places of the rows that feed it; `shape` is its output's, "N" standing for the batch; `int8` tells
    that this output is rounded where the model runs in int8.
    """

    operator: str
    name: str
    role: str
    shape: str
    weights: int
    int8: bool
    sources: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Band:
    """A block: its first and last row, its name, and whether it is trained."""

    first: int
    last: int
    name: str
    trained: bool


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Rows and blocks; the frozen part, which gives `cut_tensor`, ends before row `cut`, 0 where nothing is frozen."""

    title: str
    rows: tuple[Row, ...]
    bands: tuple[Band, ...]
    cut: int
    cut_tensor: str


def picture_of(made: Made) -> Picture:
    """Return the picture of a bundle's model: the float model, with what the tier made of it."""
    network, manifest = made.whole, made.bundle.manifest
    learned = {name for name, _ in manifest.layout.tensors}
    rounded = set() if made.parts is None else set(rounded_tensors(network))
    tensor = made.frozen_before
    places = {network.x: 0}
    rows = [_row("Input", network.x, INPUT, network, network.x, 0, (), rounded)]
    for node in network.nodes:
        held = [name for name in node.input if name in network.params]
        count = sum(network.params[name].size for name in held)
        role = TRAINED if learned & set(held) else FROZEN if held else PLAIN
        sources = tuple(dict.fromkeys(places[name] for name in node.input if name in places))
        places.update({name: len(rows) for name in node.output})
        rows.append(_row(node.op_type, node.name, role, network, node.output[0], count, sources, rounded))
    trained = sum(value.size for name, value in network.params.items() if name in learned)
    return Picture(
        title=f"{manifest.model}, tier {manifest.tier}: {trained:,} of {made.weights:,} parameters trained",
        rows=tuple(rows),
        bands=_bands(network, learned),
        cut=places[tensor] + 1 if tensor else 0,
        cut_tensor=tensor,
    )


def _row(  # noqa: PLR0917 - in the order of the fields
    operator: str,
    name: str,
    role: str,
    network: Network,
    tensor: str,
    weights: int,
    sources: tuple[int, ...],
    rounded: set[str],
) -> Row:
    dims = ["N", *("?" if dim is None else str(dim) for dim in network.shapes.get(tensor, (None,))[1:])]
    return Row(
        operator=operator,
        name=name,
        role=role,
        shape=" x ".join(dims),
        weights=weights,
        int8=tensor in rounded,
        sources=sources,
    )


def _bands(network: Network, learned: set[str]) -> tuple[Band, ...]:
    """Return the blocks with the tier that trains from each of them on."""
    found = blocks(network)
    starts = {name: place + 1 for place, name in cuts(network)}
    ends = [*(starts[block.cut] - 1 for block in found[1:]), len(network.nodes)]
    bands = []
    for number, (block, last) in enumerate(zip(found, ends, strict=True)):
        behind = len(found) - 1 - number
        tier = "head" if not behind else f"last-{behind}"
        bands.append(
            Band(
                first=starts[block.cut],
                last=last,
                name=f"{tier}: {block.nodes[0]}",
                trained=bool(learned & set(block.weights)),
            )
        )
    return tuple(bands)
