"""Which devices of an attempt sum together: equal cohorts, drawn anew each round."""

from collections.abc import Sequence

from accord.entropy import Entropy
from accord.errors import LocalProtocolError, UsageError
from accord.plan import STANDARD, Graph
from accord.secagg.cohort import USUAL
from accord.secagg.graph import rule


def form(
    devices: Sequence[str],
    count: int,
    floor: int,
    cap: int,
    entropy: Entropy,
    *,
    graph: Graph = USUAL,
    profile: str = STANDARD,
) -> list[list[str]]:
    """Deal `devices` into cohorts of nearly equal size, at random.

    Args:
        devices: ids of those who joined.
        count: the cohorts asked for; fewer are formed where some would fall below `floor`, more where some would pass
            `cap`.
        floor: the smallest cohort allowed.
        cap: the largest cohort allowed.
        entropy: decides who sums with whom.
        graph: the plan's: a cohort larger than those that were invited may need more neighbours than there can be.
        profile: the plan's.

    Returns:
        Lists of ids; empty if not even one cohort can be formed.

    Raises:
        UsageError: the bounds can't both be kept, or no graph is safe for cohorts of that size.
    """
    if len(devices) < floor:
        return []
    number = max(1, min(count, len(devices) // floor), -(-len(devices) // cap))
    if len(devices) // number < floor:
        raise UsageError(f"{len(devices)} devices can't be dealt into cohorts of {floor} to {cap}")
    drawn = {device: entropy(16) for device in sorted(devices)}
    shuffled = sorted(drawn, key=drawn.__getitem__)
    groups = [sorted(shuffled[at::number]) for at in range(number)]
    try:
        for size in {len(group) for group in groups}:
            rule(size, graph, profile)
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error
    return groups
