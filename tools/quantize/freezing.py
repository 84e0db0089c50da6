"""Freezing the nodes before one tensor, and finding how little has to be frozen. Differentiates nothing itself."""

from collections.abc import Callable
from dataclasses import replace

from accord.errors import UsageError
from quantize.int8.blocks import cuts
from quantize.network import Network


def frozen_before(network: Network, cut: str) -> Network:
    """Return the same function, of which only the weights behind `cut` are trained.

    Args:
        network: the whole model.
        cut: a tensor that alone carries everything from the nodes before it to those behind it.

    Raises:
        UsageError: there is no such tensor, or no weight is behind it.
    """
    places = {name: place for place, name in cuts(network)}
    if cut not in places:
        raise UsageError(
            f"tensor {cut!r} does not carry everything that reaches the output: "
            f"freeze before one of {', '.join(name for name in places if name != network.output)}"
        )
    frozen = {name for node in network.nodes[: places[cut]] for name in node.input}
    params = {name: value for name, value in network.params.items() if name not in frozen}
    if not params:
        raise UsageError(f"no weight is behind tensor {cut!r}, so nothing would be trained")
    kept = {name: value for name, value in network.params.items() if name in frozen}
    return replace(network, params=params, constants={**network.constants, **kept})


def deepest_cut(network: Network, trains: Callable[[Network], bool]) -> str | None:
    """Return the first tensor behind which everything can be trained; None if there is none.

    What trains behind one tensor trains behind every later one, so a few tries find it.

    Args:
        network: a model that can't be trained as a whole.
        trains: tells whether a network can be.
    """
    weights = set(network.params)
    names = [
        name
        for place, name in cuts(network)
        if any(weights & set(node.input) for node in network.nodes[place:])
        and weights - {read for node in network.nodes[:place] for read in node.input}
    ]
    low, high = 0, len(names)
    while low < high:
        middle = (low + high) // 2
        if trains(frozen_before(network, names[middle])):
            high = middle
        else:
            low = middle + 1
    return names[low] if low < len(names) else None
