"""Keys that an attempt has seen are looked up and not gathered anew, and are the same keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import Refusal
from accord.wire.secure_sum import Member
from aggregator.taken_keys import TakenKeys

DEVICES, KEYS = ("a", "b", "c"), [bytes([number]) * 32 for number in range(8)]
STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(DEVICES), st.permutations(KEYS)), max_size=30)


def member(device: str, keys: list[bytes]) -> Member:
    return Member(
        device=device,
        identity=keys[2],
        serial=1,
        expires=2,
        certified=bytes(64),
        mask_key=keys[0],
        seal_key=keys[1],
        signature=bytes(64),
    )


@given(STEPS)
def test_they_are_those_of_the_offers_and_of_the_joins_that_count(steps: list[tuple[bool, str, list[bytes]]]) -> None:
    taken, offered, joined = TakenKeys(), dict[str, bytes](), dict[str, Member]()
    for joins, device, keys in steps:
        if joins and device not in joined and not any(key in taken for key in keys[:2]):
            joined[device] = member(device, keys)
            taken.joined(device, joined[device])
        elif joins and device in joined:
            taken.left(joined.pop(device))
        elif not joins:
            if keys[0] in [key for other, key in offered.items() if other != device]:
                with pytest.raises(Refusal, match="DuplicateKey"):
                    taken.check(device, keys[0])
                continue
            taken.check(device, keys[0])
            taken.offered(device, keys[0])
            offered[device] = keys[0]
        parts = {key: name for name, one in joined.items() for key in (one.mask_key, one.seal_key)}
        assert [key for key in KEYS if key in taken] == [key for key in KEYS if key in {*parts, *offered.values()}]
        assert [taken.joiner(key) for key in KEYS] == [parts.get(key) for key in KEYS]
