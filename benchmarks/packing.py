"""Packing integers of m bits and encoding an update, in CPU time; what copying the same bytes takes stands beside it.

Rates are packed bytes in a second of CPU, of the fastest of the repeats; the last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from accord.plan import Fixed
from accord.update import fixedpoint, packing

WIDTHS = (4, 8, 9, 12, 13, 16, 20, 21, 24, 32)
PARAMETERS = 1_000_000


def fastest(step: Callable[[], object], repeats: int) -> float:
    """Return the least CPU seconds that a step took."""
    taken = []
    for _ in range(repeats):
        before = time.process_time()
        step()
        taken.append(time.process_time() - before)
    return max(min(taken), 1e-9)


def packed(bits: int, values: packing.Ring, repeats: int) -> dict[str, float]:
    """Return GB/s of packing and unpacking, and of a plain copy of as many bytes."""
    data = packing.pack(values, bits)
    octets, room = np.frombuffer(data, np.uint8), np.empty(len(data), np.uint8)
    took = {
        "pack": fastest(lambda: packing.pack(values, bits), repeats),
        "unpack": fastest(lambda: packing.unpack(data, values.size, bits), repeats),
        "copy": fastest(lambda: np.copyto(room, octets), repeats),
    }
    return {name: round(len(data) / seconds / 1e9, 3) for name, seconds in took.items()}


def encoded(value_bits: int, modulus_bits: int, repeats: int) -> float:
    """Return the CPU milliseconds from a change of a million parameters to its packed, unmasked integers."""
    fixed = Fixed(value_bits=value_bits, modulus_bits=modulus_bits, exponents=(0,), largest_weight=100)
    units, top = fixedpoint.limits((PARAMETERS,), fixed), fixedpoint.top_value(fixed)
    delta = np.random.default_rng(0).normal(0, 0.1, PARAMETERS).astype(np.float32)

    def step() -> bytes:
        return packing.pack(fixedpoint.encode(delta, 0.5, units, top, bytes(32)).values, modulus_bits)

    return round(1_000 * fastest(step, repeats), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--repeats", type=int, default=9, help="of each measurement (default %(default)s)")
    asked = parser.parse_args()
    values = np.random.default_rng(1).integers(0, 2**32, PARAMETERS, dtype=np.uint32)
    rates = {str(bits): packed(bits, values, asked.repeats) for bits in WIDTHS}
    encoding = {f"{b} in {m}": encoded(b, m, asked.repeats) for b, m in ((16, 21), (8, 13), (4, 9))}
    if not asked.json:
        print("bits   pack  unpack    copy, GB/s of packed bytes")
        for bits, found in rates.items():
            print(f"{bits:>4} {found['pack']:6.2f}  {found['unpack']:6.2f}  {found['copy']:6.2f}")
        for widths, milliseconds in encoding.items():
            print(f"an update of {PARAMETERS} parameters, {widths} bits: {milliseconds} ms of CPU")
    print(json.dumps({"gb_per_s": rates, "encode_ms": encoding}))


if __name__ == "__main__":
    main()
