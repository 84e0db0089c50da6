"""What corrupt devices, and an aggregator that lies, can open in a cohort on a complete graph: counted, not tried.

The tests try it: `tests/secagg/secrecy.py` plays every small roster. See docs/threats.md.
"""

from accord.plan import STANDARD, STRICT
from accord.secagg.graph import threshold_of


def unsafe(members: int, corrupt: int, floor: int, profile: str) -> str:
    """Say what so many corrupt devices could do in a roster of `members`, of whom a sum holds `floor`, or nothing."""
    threshold = threshold_of(members, profile)
    if corrupt >= threshold:
        return f"{corrupt} corrupt of {members} devices could open any secret, as {threshold} shares do"
    shared = 2 * threshold - members
    if profile == STRICT and corrupt >= shared:
        return (
            f"{corrupt} corrupt of {members} devices could sign two survivor sets, as two quorums of {threshold} have "
            f"{shared} in common"
        )
    return lonely(max(floor, threshold), corrupt)


def lonely(held: int, corrupt: int) -> str:
    """Say that a sum of `held` devices may hold one honest device alone, or nothing."""
    if held - corrupt < 2:
        return (
            f"a sum of {held} devices of which {corrupt} are corrupt may hold one honest device alone: set a floor "
            f"of {corrupt + 2} or more"
        )
    return ""


def allies(members: int, profile: str) -> int:
    """Return with how many corrupt devices two survivor sets can both be answered: honest ones answer for one."""
    return 2 * threshold_of(members, profile) - members


def isolable(members: int, floor: int) -> bool:
    """Return whether two survivor sets or more can leave one vector of profile `standard` without its masks.

    Nobody need be corrupt. The vector is masked with `peers` devices at least. To take a mask off, t answers must leave
    that peer out, and its own never does; each answer leaves out as many as the floor allows.
    """
    threshold = threshold_of(members, STANDARD)
    least = max(floor, threshold)
    peers, room = least - 1, members - least
    left_out = peers * min(room, peers - 1) + (members - 1 - peers) * min(room, peers)
    return peers * threshold <= left_out
