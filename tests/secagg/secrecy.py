"""What an aggregator can open with what it knows: the sums over which no mask that it does not know is left.

A masked vector holds the device's own mask and one for each peer that it masked against. Masks are independent
keystreams, so the only sums without unknown masks are over unions of these sets: devices that are joined by masks which
nobody else knows, each of whose own masks is known, and none of which masked against anybody else by an unknown one.
"""

from collections.abc import Collection, Mapping
from itertools import combinations, product

STRICT = "strict"


def openable(
    masked: Mapping[int, Collection[int]], self_known: Collection[int], mask_known: Collection[int]
) -> list[frozenset[int]]:
    """Return the smallest sets of honest devices whose sums can be opened.

    Args:
        masked: for each honest device whose vector is out the peers that it masked against.
        self_known: devices whose own mask is known.
        mask_known: devices whose mask key is known, and so all masks that they share; colluders among them.
    """
    unknown = {
        device: {peer for peer in peers if peer != device and not {device, peer} & set(mask_known)}
        for device, peers in masked.items()
    }
    found, seen = [], set[int]()
    for device in masked:
        if device in seen:
            continue
        part, queue, hidden = {device}, [device], False
        while queue:
            one = queue.pop()
            hidden |= one not in self_known
            taken_off = {peer for peer in unknown[one] if peer in masked and one in unknown[peer]}
            hidden |= taken_off != unknown[one]  # a mask is left that no other vector takes off
            queue += taken_off - part
            part |= taken_off
        seen |= part
        if not hidden:
            found.append(frozenset(part))
    return found


def threshold(members: int, profile: str) -> int:
    """Return t on a complete graph, from docs/protocol.md, section 7.3."""
    return 2 * members // 3 + 1 if profile == STRICT else members // 2 + 1


def colluders_borne(members: int, profile: str) -> int:
    """Return how many colluders a profile bears beside an aggregator that lies.

    As many as leave two survivor sets without enough answers for both, where an honest device answers for one and a
    corrupt one for any: c < 2t - n. In `standard` that is about the answers, in `strict` already about their quorums.
    """
    return 2 * threshold(members, profile) - 1 - members


def fewest(members: int, floor: int, colluders: int, profile: str) -> int:
    """Return how many honest devices every sum holds that can be opened: in `standard`, where all saw one survivor set.

    What two survivor sets do in `standard` is in `isolating`.
    """
    return max(floor, threshold(members, profile)) - colluders


# The same on paper, for small rosters, where everything can be tried. Members from 0; the colluders come first.


def _holding(member: int, members: int, least: int) -> list[frozenset[int]]:
    others = [other for other in range(members) if other != member]
    return [frozenset((member, *rest)) for size in range(least - 1, members) for rest in combinations(others, size)]


def smallest_with_one_set(members: int, floor: int, colluders: int, t: int) -> int:
    """Return the fewest honest devices of a sum that can be opened if all who answer are shown one survivor set.

    Every set, every choice of dealers for each device whose vector is wanted, and all silent or not. Others were shown
    all dealers: that gives the aggregator the most shares, and their own vectors are not wanted.
    """
    least, honest = max(floor, t), range(colluders, members)
    for size in range(1, len(honest) + 1):
        wanted = tuple(honest)[:size]  # any others look the same
        rest = [member for member in range(members) if member not in wanted]
        for extra in (e for count in range(len(rest) + 1) for e in combinations(rest, count)):
            alive = frozenset((*wanted, *extra))
            if len(alive) < least:
                continue
            for dealers in product(*(_holding(member, members, least) for member in wanted)):
                if _opens(dict(zip(wanted, dealers, strict=True)), alive, honest, t):
                    return size
    return len(honest)


def _opens(shown: Mapping[int, frozenset[int]], alive: frozenset[int], honest: range, t: int) -> bool:
    """Return whether the devices whose dealers are given form a sum that opens, if all answer for `alive` who can."""
    known_self, known_mask = set(), set(range(honest.start))
    answering = [member for member in honest if member in alive and alive <= shown.get(member, alive)]
    for member in honest:
        got = honest.start + sum(holder not in shown or member in shown[holder] for holder in answering)
        if got >= t:
            (known_self if member in alive else known_mask).add(member)
    return frozenset(shown) in openable(shown, known_self, known_mask)


Sets = dict[int, tuple[frozenset[int], frozenset[int]]]
"""For each member the dealers and the survivors that it is shown."""


def isolating(members: int, floor: int, colluders: int, t: int) -> Sets | None:
    """Return what an aggregator shows each honest device to read the last one's vector alone, or None if it can't.

    Every choice of dealers for that device, and of a survivor set for each device; n + c < 2t, so that its own mask
    key stays unknown.
    """
    least, target = max(floor, t), members - 1
    everybody, honest = frozenset(range(members)), range(colluders, members)
    for dealers in sorted(_holding(target, members, least), key=lambda d: (len(d), sorted(d))):
        peers = sorted(peer for peer in dealers if peer != target and peer >= colluders)
        need = t - colluders
        # from the counts of shares (of the target's own mask, then of each peer's mask key) to how they were got
        reached: dict[tuple[int, ...], Sets] = {(0,) * (1 + len(peers)): {}}
        for holder in honest:
            held = dealers if holder == target else everybody
            sets = [s for s in _holding(holder, members, least) if len(s) == least and s <= held]
            following = dict(reached)  # it may be left without an answer
            for counts, how in reached.items():
                for alive in sets:
                    gains = (target in alive, *(peer not in alive for peer in peers))
                    new = tuple(min(need, count + gain) for count, gain in zip(counts, gains, strict=True))
                    following.setdefault(new, {**how, holder: (held, alive)})
            reached = following
        found = reached.get((need,) * (1 + len(peers)))
        if found is not None:
            return {target: (dealers, frozenset()), **found}
    return None
