"""What the way down costs: bytes for each parameter by how far a device is behind, and the time to make and apply one.

`python benchmarks/deltas.py --json`. A model of a million parameters, whose rounds change all blocks or a tenth of them
by normal numbers; releases of 8 bits. `snapshot` is 4 bytes for each parameter, `made` and `applied` are CPU seconds.
"""

import argparse
import json
import sys
import time

import numpy as np

from accord.prg import digest
from accord.tensors import Layout
from accord.update import blocks, delta
from accord.update.snapshot import first
from aggregator.releases import RELEASE_BITS, Releases

LAYOUT = Layout((("w", (1_000, 900)), ("b", (1_000,)), ("v", (99, 1_000))))
BEHIND = (1, 2, 5, 10, 30)


def row(share: float, bits: int) -> list[dict[str, float]]:
    """Return a row for each distance, for rounds that change this share of the blocks."""
    rng, releases = np.random.default_rng(0), Releases(LAYOUT, bits)
    params = rng.normal(0, 0.05, LAYOUT.size).astype(np.float32)
    versions = [first(params, 64)]
    for _ in range(max(BEHIND) + 1):
        change = rng.normal(0, 1e-3, LAYOUT.size).astype(np.float32)
        change[~blocks.members(rng.random(blocks.count(LAYOUT.size)) < share, 0, LAYOUT.size)] = 0
        params = releases.next(params, change)
        versions.append(first(params, 64))
    found = []
    for behind in BEHIND:
        base, newest = versions[-1 - behind], versions[-1]
        start = time.process_time()
        made = delta.between(base, newest, LAYOUT)
        middle = time.process_time()
        assert made is None or delta.apply(base, made, LAYOUT, digest(newest)) == newest
        size = len(newest) if made is None else len(made)
        found.append(
            {
                "share": share,
                "bits": bits,
                "behind": behind,
                "bytes_per_param": round(size / LAYOUT.size, 4),
                "bytes_per_param_and_version": round(size / LAYOUT.size / behind, 4),
                "made": round(middle - start, 3),
                "applied": round(time.process_time() - middle, 3),
            }
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--bits", type=int, default=RELEASE_BITS, help="of a release's change (default %(default)s)")
    arguments = parser.parse_args()
    rows = [one for share in (1.0, 0.1) for one in row(share, arguments.bits)]
    if arguments.json:
        print(json.dumps({"parameters": LAYOUT.size, "snapshot": 4.0, "rows": rows}))
        return 0
    for one in rows:
        print("  ".join(f"{name} {value:g}" for name, value in one.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
