"""What a sparse graph must hold against: exact integer tails of random neighbourhoods. Nothing here is rounded.

Devices of different makes have to agree on a graph's degree and threshold, so no floating point decides them. The
bounds are those of Bell et al. 2020 (SecAgg+), section 4; see docs/protocol.md, section 7.3.
"""

import math
from functools import lru_cache
from itertools import accumulate

SECURITY = 41
"""No honest device has t corrupt holders, and the honest survivors are connected, but with chance 2^-40 in all."""
CORRECTNESS = 30
"""Every secret has t holders left but with chance 2^-30."""
MICRO = 1_000_000


def least_degree(members: int, corrupt: int, dropout: int, highest: int) -> tuple[int, int, int] | None:
    """Return the least even degree k with the lowest and highest threshold that it allows, or None if there is none.

    Each device has k neighbours in a ring that was shuffled at random. With n members, at most a share c of them
    corrupt and a share d dropping out:

    - security: n·P[Hyp(n-1, c·n, k) >= t] <= 2^-41, where Hyp counts the corrupt ones among a device's neighbours;
    - connectivity: n·(c + d)^(k/2) <= 2^-41, which bounds a gap of k/2 in the ring;
    - correctness: n·P[Hyp(n-1, n-1 - d·n, k) < t] <= 2^-30, as all who drop out may be among the others;
    - t >= floor(k/2) + 1: two survivor sets can't both gather t answers from devices that answer once.

    Args:
        members: n.
        corrupt: c in millionths.
        dropout: d in millionths.
        highest: the largest k to try.
    """
    first = _connected(members, corrupt + dropout)
    if first is None:
        return None
    left = max(0, members - 1 + members * -dropout // MICRO)
    for degree in range(first, highest + 1, 2):
        if _hopeless(members, left, degree):
            continue
        low = max(degree // 2 + 1, _lowest(members, -(-members * corrupt // MICRO), degree))
        high = _highest(members, left, degree)
        if low <= high:
            return degree, low, high
    return None


@lru_cache(maxsize=256)
def chosen(members: int, corrupt: int, dropout: int, highest: int) -> tuple[int, int] | None:
    """Return (k, t), or None: t is in the middle of what `least_degree` allows, so that more may be bad either way."""
    found = least_degree(members, corrupt, dropout, highest)
    return None if found is None else (found[0], (found[1] + found[2]) // 2)


def _connected(members: int, share: int) -> int | None:
    """Return the least even degree at which n·share^(k/2) <= 2^-41, or None if the share is one or more."""
    if share >= MICRO:
        return None
    half, left, right = 1, (members << SECURITY) * share, MICRO
    while left > right:
        half, left, right = half + 1, left * share, right * MICRO
    return 2 * half


def _hopeless(members: int, left: int, degree: int) -> bool:
    """Return whether one term of correctness alone is too likely: that just k/2 neighbours are left, below every t.

    It is exact, and spares the sums of all terms at degrees that can't do: hundreds of them before a refusal.
    """
    half = degree // 2
    term = math.comb(left, half) * math.comb(members - 1 - left, degree - half)
    return (members << CORRECTNESS) * term > math.comb(members - 1, degree)


def _weights(population: int, marked: int, drawn: int) -> list[int]:
    """Return C(marked, i)·C(population - marked, drawn - i) for i from 0 to `drawn`: of all C(population, drawn)."""
    start = max(0, drawn - (population - marked))
    stop = min(marked, drawn)
    weights = [0] * (drawn + 1)
    weight = math.comb(marked, start) * math.comb(population - marked, drawn - start)
    for count in range(start, stop + 1):
        weights[count] = weight
        # the next one's share of this one, exact: both are integers
        weight = weight * (marked - count) * (drawn - count)
        weight //= (count + 1) * (population - marked - drawn + count + 1)
    return weights


def _lowest(members: int, corrupt: int, degree: int) -> int:
    """Return the least t at which no honest device has t corrupt neighbours, but with chance 2^-41."""
    everything = math.comb(members - 1, degree)
    tails = list(accumulate(reversed(_weights(members - 1, min(corrupt, members - 1), degree))))
    return degree + 1 - sum((members << SECURITY) * tail <= everything for tail in tails)


def _highest(members: int, left: int, degree: int) -> int:
    """Return the greatest t at which every device has t neighbours left, but with chance 2^-30; 0 if there is none."""
    everything = math.comb(members - 1, degree)
    below = accumulate(_weights(members - 1, left, degree))
    return min(degree, sum((members << CORRECTNESS) * chance <= everything for chance in below))
