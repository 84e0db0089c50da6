"""Which axes of a reshape belong together, and whether it can be done on axes that lie in another order."""

from quantize.tflite.graph import Shape

Order = tuple[int, ...]


def blocks(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """Return runs of axes of `before` and the runs of `after` that hold the same cells, as short as can be.

    Args:
        before: a shape; -k stands for k·N.
        after: another one of as many cells.
    """
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        ins, outs, left, right = [i], [j], before[i], after[j]
        while left != right:
            if abs(left) < abs(right) or (abs(left) == abs(right) and left > 0):
                ins.append(ins[-1] + 1)
                left *= before[ins[-1]]
            else:
                outs.append(outs[-1] + 1)
                right *= after[outs[-1]]
        found.append((ins, outs))
        i, j = ins[-1] + 1, outs[-1] + 1
    if i < len(before) or j < len(after):  # what is left over is ones
        ins, outs = found.pop() if found else ([], [])
        found.append(([*ins, *range(i, len(before))], [*outs, *range(j, len(after))]))
    return found


def carried(order: Order, before: Shape, after: Shape) -> Order | None:
    """Return the order in which the axes of `after` lie when those of `before` lie in `order` and nothing is moved.

    None if the cells of a block do not lie one after another as the reshape needs them.
    """
    if order == tuple(range(len(order))):
        return tuple(range(len(after)))
    lying = [axis for axis in order if before[axis] != 1]
    found: list[int] = []
    start = 0
    rest = [block for block in blocks(before, after) if any(before[axis] != 1 for axis in block[0])]
    by_first = {next(axis for axis in ins if before[axis] != 1): (ins, outs) for ins, outs in rest}
    while start < len(lying):
        if lying[start] not in by_first:
            return None
        ins, outs = by_first[lying[start]]
        long = [axis for axis in ins if before[axis] != 1]
        if lying[start : start + len(long)] != long:
            return None
        found += outs
        start += len(long)
    return (*found, *(axis for axis in range(len(after)) if axis not in found))
