"""The other steps of random graphs: those that move cells, and those that pass windows over them."""

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.quantize.random_graph import Graph
from tests.quantize.random_steps import ANYWHERE, Step, function, recurrent, reduction

FAR = 2**62


def reshape(graph: Graph, x: str) -> str:
    kind = graph.one_of("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile")
    rest = graph.shape(x)[1:]
    ones = [axis for axis, dim in enumerate(rest, 1) if dim == 1]
    if kind == "Squeeze" and ones and len(rest) > 1:
        return graph.add("Squeeze", x, graph.setting(graph.one_of(*ones)))
    if kind == "Unsqueeze" and len(rest) < 4:
        return graph.add("Unsqueeze", x, graph.setting(graph.one_of(-1, *range(1, len(rest) + 2))))
    if kind == "Expand" and ones:
        wide = [graph.one_of(2, 3) if dim == 1 else 1 for dim in rest]
        return graph.add("Expand", x, graph.setting(1, *wide))
    if kind == "Tile":
        return graph.add("Tile", x, graph.setting(1, *(graph.one_of(1, 1, 2) for _ in rest)))
    if kind == "Flatten":
        return graph.add("Flatten", x)
    cells = int(np.prod(rest))
    divisor = graph.one_of(*(d for d in range(1, cells + 1) if cells % d == 0))
    target = graph.one_of((0, divisor, -1), (-1, divisor, cells // divisor), (0, -1), (0, 1, divisor, -1))
    return graph.add("Reshape", x, graph.setting(*target))


def transpose(graph: Graph, x: str) -> str:
    return graph.add("Transpose", x, perm=[0, *graph.draw(st.permutations(range(1, len(graph.shape(x)))))])


def cut(graph: Graph, x: str) -> str:
    rank = len(graph.shape(x))
    axes = graph.draw(st.lists(st.integers(1, rank - 1), min_size=1, max_size=2, unique=True))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = graph.shape(x)[axis]
        step = graph.one_of(1, 1, 2, -1, -2)
        first = graph.whole(0, size - 1)
        start = first if step > 0 else size - 1 - first
        starts.append(graph.one_of(start, start - size))
        near = start + 1 if step > 0 else start - 1
        ends.append(graph.one_of(FAR if step > 0 else -FAR, near if near >= 0 else -FAR))
        steps.append(step)
    signed = [graph.one_of(axis, axis - rank) for axis in axes]
    return graph.add("Slice", x, *(graph.setting(*values) for values in (starts, ends, signed, steps)))


def pad(graph: Graph, x: str) -> str:
    mode = graph.one_of("constant", "reflect", "edge", "wrap")
    rest = graph.shape(x)[1:]
    most = [min(2, dim - 1) if mode in ("reflect", "wrap") else 2 for dim in rest]
    least = [-1 if mode == "constant" and dim > 1 else 0 for dim in rest]
    before = [graph.whole(low, high) for low, high in zip(least, most, strict=True)]
    behind = [graph.whole(0, high) for high in most]
    pads = graph.setting(0, *before, 0, *behind)
    value = (graph.number(0.7),) if mode == "constant" and graph.one_of(True, False) else ()
    return graph.add("Pad", x, pads, *value, mode=mode)


def look_up(graph: Graph, x: str) -> str:
    axis = graph.axis(x)
    size = graph.shape(x)[axis]
    shape = graph.one_of((), (1,), (2,), (3,), (2, 2))
    found = graph.add("Gather", x, graph.tensor(graph.numbers.integers(-size, size, shape), np.int64), axis=axis)
    return found if len(graph.shape(found)) > 1 else graph.add("Unsqueeze", found, graph.setting(1))


def split(graph: Graph, x: str) -> str:
    axis = graph.axis(x)
    size = graph.shape(x)[axis]
    assume(size > 1)
    if graph.one_of(True, False):
        count = graph.whole(2, min(3, size))
        assume(-(-size // count) * (count - 1) < size)
        parts = graph.add_many("Split", (x,), count, axis=axis, num_outputs=count)
    else:
        first = graph.whole(1, size - 1)
        parts = graph.add_many("Split", (x, graph.setting(first, size - first)), 2, axis=axis)
    graph.floats += parts
    kept = graph.draw(st.permutations(parts))
    return graph.add("Concat", *kept[: graph.whole(1, len(kept))], axis=axis)


def join(graph: Graph, x: str) -> str:
    axis = graph.axis(x)
    place = axis % len(graph.shape(x))
    fitting = [
        name
        for name in graph.floats
        if len(graph.shape(name)) == len(graph.shape(x))
        and all(a == b for i, (a, b) in enumerate(zip(graph.shape(name), graph.shape(x), strict=True)) if i != place)
    ]
    others = graph.draw(st.lists(st.sampled_from([*fitting, graph.add("Tanh", x)]), min_size=1, max_size=2))
    return graph.add("Concat", *graph.draw(st.permutations([x, *others])), axis=axis)


def as_image(graph: Graph, x: str, rank: int) -> str:
    """Give a row the shape (channels, then `rank` sizes), if it has another."""
    if len(graph.shape(x)) == rank + 2:
        return x
    cells = int(np.prod(graph.shape(x)[1:]))
    channels = graph.one_of(*(c for c in (1, 2, 3, 4) if cells % c == 0))
    rest = cells // channels
    if rank == 1:
        return graph.add("Reshape", x, graph.setting(0, channels, rest))
    height = max(h for h in range(1, int(rest**0.5) + 1) if rest % h == 0)
    return graph.add("Reshape", x, graph.setting(0, channels, height, -1))


def blocks(graph: Graph, x: str) -> str:
    x = as_image(graph, x, 2)
    channels, height, width = graph.shape(x)[1:]
    if channels % 4 == 0 and graph.one_of(True, False):
        return graph.add("DepthToSpace", x, blocksize=2, mode=graph.one_of("DCR", "CRD"))
    assume(height % 2 == 0 and width % 2 == 0)
    return graph.add("SpaceToDepth", x, blocksize=2)


def resize(graph: Graph, x: str) -> str:
    rank = graph.one_of(1, 2)
    x = as_image(graph, x, rank)
    mode = graph.one_of("nearest", "nearest", "linear")
    attributes: dict[str, Any] = {"mode": mode}
    if graph.one_of(True, False):
        attributes["coordinate_transformation_mode"] = graph.one_of("asymmetric", "half_pixel", "align_corners")
        if mode == "nearest":
            attributes["nearest_mode"] = graph.one_of("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    scales = graph.scales(1, 1, *(graph.one_of(1, 2, 3) for _ in range(rank)))
    return graph.add("Resize", x, "", scales, **attributes)


def window(graph: Graph, x: str, kernel: list[int]) -> dict[str, Any]:
    """Draw strides, dilations and pads with which the kernel fits."""
    sizes = graph.shape(x)[2:]
    dilations = [graph.one_of(1, 1, 2) for _ in kernel]
    # Pads stay below the kernel: no window may lie in them alone.
    pads = [graph.whole(0, size - 1) for _ in range(2) for size in kernel]
    rank = len(kernel)
    for i, size in enumerate(sizes):
        assume((kernel[i] - 1) * dilations[i] + 1 <= size + pads[i] + pads[i + rank])
    return {"strides": [graph.whole(1, 3) for _ in kernel], "dilations": dilations, "pads": pads}


def convolution(graph: Graph, x: str) -> str:
    rank = graph.one_of(1, 2)
    x = as_image(graph, x, rank)
    channels = graph.shape(x)[1]
    group = graph.one_of(*(g for g in (1, 1, 2, channels) if channels % g == 0))
    kernel = [graph.whole(1, 3) for _ in range(rank)]
    width = graph.whole(1, 3)
    attributes = {**window(graph, x, kernel), "group": group}
    if graph.one_of(True, False):
        weight = graph.weight(width * group, channels // group, *kernel)
        bias = (graph.weight(width * group),) if graph.one_of(True, False) else ()
        return graph.add("Conv", x, weight, *bias, kernel_shape=kernel, **attributes)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, attributes["dilations"], strict=True)]
    sizes = graph.shape(x)[2:]
    for i, size in enumerate(sizes):
        full = attributes["strides"][i] * (size - 1) + reach[i]
        assume(full > attributes["pads"][i] + attributes["pads"][i + rank])
    extra = [graph.whole(0, stride - 1) for stride in attributes["strides"]]
    weight = graph.weight(channels, width, *kernel)
    bias = (graph.weight(width * group),) if graph.one_of(True, False) else ()
    return graph.add("ConvTranspose", x, weight, *bias, kernel_shape=kernel, output_padding=extra, **attributes)


def pool(graph: Graph, x: str) -> str:
    rank = graph.one_of(1, 2)
    x = as_image(graph, x, rank)
    kind = graph.one_of("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    if kind.startswith("Global"):
        return graph.add(kind, x)
    kernel = [graph.whole(1, 3) for _ in range(rank)]
    attributes = window(graph, x, kernel)
    if kind == "AveragePool":
        attributes["count_include_pad"] = graph.one_of(0, 1)
    return graph.add(kind, x, kernel_shape=kernel, **attributes)


STEPS: tuple[Step, ...] = (
    *ANYWHERE,
    *ANYWHERE,
    function,
    function,
    reduction,
    reshape,
    reshape,
    transpose,
    cut,
    pad,
    look_up,
    split,
    join,
    blocks,
    resize,
    convolution,
    convolution,
    pool,
    pool,
    recurrent,
)
