"""Who masks with whom, and how many shares open a secret: rules of the roster that every device recomputes."""

from accord import prg
from accord.errors import LocalProtocolError
from accord.plan import SMALLEST_COHORT, STANDARD, STRICT, Graph
from accord.secagg import bounds
from accord.secagg.shamir import MAX_SHARES

_DRAWN = 16
"""Bytes of keystream that decide one member's place in the ring."""


def threshold_of(members: int, profile: str) -> int:
    """Return how many shares open a secret on a complete graph: t."""
    return 2 * members // 3 + 1 if profile == STRICT else members // 2 + 1


def rule(members: int, graph: Graph, profile: str = STANDARD) -> tuple[int, int]:
    """Return (neighbours k, threshold t) for a roster of so many members.

    Profile `strict` has a complete graph and t = floor(2n/3) + 1, so that two quorums have more than a third of the
    roster in common (Bonawitz et al. 2017, the active setting).

    Profile `standard`: up to `graph.complete_up_to` members everyone masks with everyone, and t = floor(n/2) + 1: with
    t above half of the holders, two different survivor sets can't both gather t answers for one secret from devices
    that answer once. Above it each has the least even number of neighbours that the bounds allow, and a threshold in
    the middle of what they allow (see `bounds`); where that is no fewer than everyone, the graph is complete.

    Raises:
        LocalProtocolError: fewer than 3 members, more neighbours are needed than a secret can have shares, or profile
            `strict` has more members than `graph.complete_up_to`.
    """
    if members < SMALLEST_COHORT:
        raise LocalProtocolError(f"a cohort has at least {SMALLEST_COHORT} members, not {members}")
    if profile == STRICT:
        if members > graph.complete_up_to:
            raise LocalProtocolError(
                f"profile strict needs a complete graph, of up to {graph.complete_up_to} members here, not {members}"
            )
        return members - 1, threshold_of(members, STRICT)
    if members > graph.complete_up_to:
        found = bounds.chosen(members, graph.corrupt, graph.dropout, min(members - 2, MAX_SHARES - 1))
        if found is not None:
            return found
    if members > MAX_SHARES:
        raise LocalProtocolError(
            f"{members} members with {graph.corrupt / bounds.MICRO:.0%} corrupt and {graph.dropout / bounds.MICRO:.0%} "
            f"dropping out need more than {MAX_SHARES - 1} neighbours each: form smaller cohorts"
        )
    return members - 1, threshold_of(members, STANDARD)


class Neighbourhoods:
    """Each member with its neighbours: all of them, or those nearest in a ring that the roster shuffles (Harary 1962).

    The ring's order follows from the roster's tree head alone, so nobody chooses it, though whoever decides which JOINs
    stand in the roster can try several.

    Args:
        root: the roster's tree head, 32 bytes.
        members: of the roster.
        degree: neighbours of each; even, unless it is everyone else.
    """

    def __init__(self, root: bytes, members: int, degree: int) -> None:
        self._complete = tuple(range(members)) if degree >= members - 1 else ()
        if not self._complete:
            self._half = degree // 2
            stream = prg.keystream(prg.digest(b"graph" + root), bytes(prg.NONCE_SIZE), members * _DRAWN)
            drawn = [stream[at * _DRAWN : (at + 1) * _DRAWN] for at in range(members)]
            self._ring = sorted(range(members), key=lambda position: (drawn[position], position))
            self._place = {position: at for at, position in enumerate(self._ring)}
            self._around: dict[int, tuple[int, ...]] = {}

    def __repr__(self) -> str:
        return f"Neighbourhoods({'complete' if self._complete else f'{2 * self._half} of {len(self._ring)}'})"

    @property
    def complete(self) -> bool:
        """Whether everyone masks with everyone."""
        return bool(self._complete)

    def around(self, position: int) -> tuple[int, ...]:
        """Return a member's position and those of its neighbours, ascending: the holders of its shares."""
        if self._complete:
            return self._complete
        if position not in self._around:
            at, ring, steps = self._place[position], self._ring, range(-self._half, self._half + 1)
            self._around[position] = tuple(sorted(ring[(at + step) % len(ring)] for step in steps))
        return self._around[position]
