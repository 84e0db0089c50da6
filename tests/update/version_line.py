"""The versions of a job and what led from each to the next, as the aggregator has them."""

import numpy as np

from accord.prg import digest
from accord.tensors import Layout, Vector
from accord.update import basis, block_support, subspace
from accord.update.advance import Advance
from accord.update.coordinates import Coordinates, Whole
from accord.update.snapshot import Snapshot, unscaled
from accord.update.subspace import Subspace
from aggregator.advances import Advances
from aggregator.deltas import Deltas
from aggregator.releases import Releases

LAYOUT = Layout((("w", (30, 21)), ("b", (21,)), ("k", (12, 3, 2, 2)), ("c", ())))
COLUMNS = 2
KINDS = ("dense", "block-score", "low-rank")


def drawn(seed: int, rank: int, layout: Layout = LAYOUT) -> Subspace:
    """Return bases of random directions and sides."""
    rng, found = np.random.default_rng(seed), []
    for _, shape in layout.tensors:
        sizes = subspace.matrix(shape, rank)
        if sizes is not None:
            side = int(rng.integers(2))
            found.append(basis.rounded(side, basis.orthonormal(rng.normal(size=(sizes[1 - side], rank)))))
    return Subspace(layout, rank, subspace.encode(found))


def coordinates(kind: str, seed: int) -> Coordinates:
    if kind == "dense":
        return Whole(LAYOUT)
    if kind == "low-rank":
        return drawn(seed, 1 + seed % 4)
    count = block_support.count(LAYOUT.size, 64)
    mask = np.zeros(count, np.bool_)
    mask[np.random.default_rng(seed).permutation(count)[: block_support.chosen(300_000, count)]] = True
    return block_support.Blocks(LAYOUT, 64, 300_000, block_support.encode(mask))


def start(seed: int, layout: Layout = LAYOUT) -> Vector:
    return np.random.default_rng(seed).normal(0, 0.1, layout.size).astype(np.float32)


class Line:
    """The versions of a job and what led to them, as the aggregator has them."""

    def __init__(self, seed: int, bits: int = 8) -> None:
        self.releases, self.advances = Releases(LAYOUT, bits), Advances(LAYOUT)
        self.params, self.scaling = start(seed), unscaled(COLUMNS)
        self.wanted = self.params.astype(np.float64)
        self.snapshots = [self.snapshot]
        self.sizes: list[int] = []

    @property
    def snapshot(self) -> bytes:
        return Snapshot(params=self.params, scaling=self.scaling).encode()

    def round(self, kind: str, seed: int, scale: float = 1e-3) -> None:
        found = coordinates(kind, seed)
        values = np.random.default_rng(seed).normal(0, scale, sum(found.spans)).astype(np.float32)
        self.params, made = self.releases.after(self.params, values, found)
        self.wanted += found.put(values)
        self.release(made)

    def release(self, made: Advance | None) -> None:
        self.sizes.append(0 if made is None else len(made.encode()))
        self.advances.add(digest(self.snapshots[-1]), digest(self.snapshot), made)
        self.snapshots.append(self.snapshot)

    def since(self, held: bytes) -> list[Advance]:
        return list(self.advances.since(digest(held), digest(self.snapshot)))

    def led(self, held: bytes) -> bytes | None:
        known = {digest(one): one for one in self.snapshots}
        found = Deltas(LAYOUT, known.get, self.advances.since)
        return found.between(digest(held), digest(self.snapshot), self.snapshot)
