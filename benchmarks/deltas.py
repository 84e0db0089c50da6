"""What the way down costs: bytes for each parameter by how far a device is behind, and the time to make and apply one.

`python benchmarks/deltas.py --json`. A model of a million parameters, whose rounds change all blocks or a tenth of
them, or are of low rank, by normal numbers. Each row has three ways: what was served (`bytes_per_param`), one advance
that is made from the two snapshots (`merged`), and the snapshot, 4 bytes for each parameter. `made` and `applied` are
CPU seconds of what was served; the merged one is made too, where it might be smaller.
"""

import argparse
import json
import sys
import time

import numpy as np

from accord.prg import digest
from accord.tensors import Layout
from accord.update import basis, blocks, delta, subspace
from accord.update.coordinates import Coordinates, Whole
from accord.update.delta import Delta
from accord.update.snapshot import first
from accord.update.subspace import Subspace
from aggregator.advances import Advances
from aggregator.deltas import BACK, Deltas
from aggregator.releases import RELEASE_BITS, Releases

LAYOUT = Layout((("w", (1_000, 900)), ("b", (1_000,)), ("v", (99, 1_000))))
BEHIND = (1, 2, 5, 10, 30)
WAYS = ("all blocks", "a tenth", "low rank")
Rng = np.random.Generator


def bases(rng: Rng, rank: int, side: int) -> Subspace:
    """Return bases of random directions, all of one side."""
    sizes = [found for _, shape in LAYOUT.tensors if (found := subspace.matrix(shape, rank)) is not None]
    found = [basis.rounded(side, basis.orthonormal(rng.normal(size=(one[1 - side], rank)))) for one in sizes]
    return Subspace(LAYOUT, rank, subspace.encode(found))


def rows(way: str, bits: int, rank: int) -> list[dict[str, float | str]]:
    """Return a row for each distance, for rounds of one kind."""
    rng, releases, advances = np.random.default_rng(0), Releases(LAYOUT, bits), Advances(LAYOUT)
    params = rng.normal(0, 0.05, LAYOUT.size).astype(np.float32)
    versions = [first(params, 64)]
    for number in range(BACK + 1):
        coordinates: Coordinates = bases(rng, rank, number % 2) if way == "low rank" else Whole(LAYOUT)
        change = rng.normal(0, 1e-3, sum(coordinates.spans)).astype(np.float32)
        if way == "a tenth":
            change[~blocks.members(rng.random(blocks.count(LAYOUT.size)) < 0.1, 0, LAYOUT.size)] = 0
        params, made = releases.after(params, change, coordinates)
        versions.append(first(params, 64))
        advances.add(digest(versions[-2]), digest(versions[-1]), made)
    known, newest = {digest(one): one for one in versions}, versions[-1]
    found: list[dict[str, float | str]] = []
    for behind in BEHIND:
        base = versions[-1 - behind]
        start = time.process_time()
        led = Deltas(LAYOUT, known.get, advances.since).between(digest(base), digest(newest), newest)
        middle = time.process_time()
        assert led is None or delta.apply(base, led, LAYOUT, digest(newest)) == newest
        end = time.process_time()
        merged = delta.between(base, newest, LAYOUT)
        size, alone = (len(newest) if one is None else len(one) for one in (led, merged))
        found.append(
            {
                "rounds": way,
                "bits": bits,
                "behind": behind,
                "advances": 0 if led is None else len(Delta.decode(led).advances),
                "bytes_per_param": round(size / LAYOUT.size, 4),
                "bytes_per_param_and_version": round(size / LAYOUT.size / behind, 4),
                "merged": round(alone / LAYOUT.size, 4),
                "made": round(middle - start, 3),
                "applied": round(end - middle, 3),
            }
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--bits", type=int, default=RELEASE_BITS, help="of a release's change (default %(default)s)")
    parser.add_argument("--rank", type=int, default=8, help="of the bases of rounds of low rank (default %(default)s)")
    parser.add_argument("--rounds", choices=WAYS, action="append", help="only these; may be given again")
    arguments = parser.parse_args()
    found = [one for way in arguments.rounds or WAYS for one in rows(way, arguments.bits, arguments.rank)]
    if arguments.json:
        print(json.dumps({"parameters": LAYOUT.size, "snapshot": 4.0, "rank": arguments.rank, "rows": found}))
        return 0
    for one in found:
        print("  ".join(f"{name} {value}" for name, value in one.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
