"""Which devices of an attempt sum together: equal cohorts, drawn anew each round."""

from collections.abc import Sequence

from accord.entropy import Entropy
from accord.errors import UsageError


def form(devices: Sequence[str], count: int, floor: int, cap: int, entropy: Entropy) -> list[list[str]]:
    """Deal `devices` into cohorts of nearly equal size, at random.

    Args:
        devices: ids of those who joined.
        count: the cohorts asked for; fewer are formed where some would fall below `floor`, more where some would pass
            `cap`.
        floor: the smallest cohort allowed.
        cap: the largest cohort allowed.
        entropy: decides who sums with whom.

    Returns:
        Lists of ids; empty if not even one cohort can be formed.

    Raises:
        UsageError: the bounds can't both be kept.
    """
    if len(devices) < floor:
        return []
    number = max(1, min(count, len(devices) // floor), -(-len(devices) // cap))
    if len(devices) // number < floor:
        raise UsageError(f"{len(devices)} devices can't be dealt into cohorts of {floor} to {cap}")
    drawn = {device: entropy(16) for device in sorted(devices)}
    shuffled = sorted(drawn, key=drawn.__getitem__)
    return [sorted(shuffled[at::number]) for at in range(number)]
