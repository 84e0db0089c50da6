"""Who masks with whom, and how many shares open a secret: a rule of the roster's size that every device recomputes."""

from accord.errors import LocalProtocolError

COMPLETE_UP_TO = 100


def standard(members: int) -> tuple[int, int]:
    """Return (neighbours, threshold) of profile `standard`: everyone masks with everyone, t = floor(n/2) + 1.

    With t above half of the holders, two different survivor sets can't both gather t answers for one secret from
    devices that answer once.

    Raises:
        LocalProtocolError: fewer than 3 members, or more than the complete graph carries.
    """
    if not 3 <= members <= COMPLETE_UP_TO:
        raise LocalProtocolError(f"a complete graph has 3 to {COMPLETE_UP_TO} members, not {members}")
    return members - 1, members // 2 + 1
