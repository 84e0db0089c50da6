"""The topic grammar, and the one rule about who may publish and subscribe where: every broker's rules come from here.

See docs/protocol.md, section 12. A topic is `fl/v1/{tenant}/` and then one of the rows of `SHAPES`.
"""

import re
from functools import lru_cache
from typing import Literal

from accord.errors import CodecError
from accord.ids import AGGREGATOR, NAME, checked_name
from accord.values import dataclass

PREFIX = "fl/v1"
MAX_LENGTH = 512
_CACHED = 8_192
"""Answers kept: a fleet asks about the same topics again and again."""
Action = Literal["publish", "subscribe"]

_NAME = NAME.pattern
_UP = r"(?P<kind>state|beat|req)|s(?P<shard>[0-9]{1,4})/(?P<transfer>[0-9a-f]{32})"
SHAPES: tuple[str, ...] = tuple(
    rf"fl/v1/(?P<tenant>{_NAME})/{rest}"
    for rest in (
        rf"dev/(?P<device>{_NAME})/(?P<area>up)/(?:{_UP})",
        rf"dev/(?P<device>{_NAME})/(?P<area>down)/(?P<kind>rsp|cmd|gap)",
        r"(?P<area>bcast)/(?P<kind>roles)",
        rf"(?P<area>bcast)/j/(?P<job>{_NAME})/(?P<kind>round|model|result)",
        r"(?P<area>bcast)/c/(?P<object>[0-9a-f]{64})",
        r"(?P<area>agg)/(?P<kind>state)",
    )
)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic taken apart; parts that its shape lacks are empty."""

    tenant: str
    area: str
    kind: str = ""
    device: str = ""
    job: str = ""
    shard: str = ""
    transfer: str = ""
    object: str = ""


@lru_cache(maxsize=_CACHED)
def parse(topic: str) -> Topic:
    """Return the parts of a topic.

    Raises:
        CodecError: it is not one of the protocol's.
    """
    if len(topic) <= MAX_LENGTH:
        for shape in SHAPES:
            found = re.fullmatch(shape, topic)  # compiled once it is used: devices take no topic apart
            if found is not None:
                parts = {name: text for name, text in found.groupdict().items() if text is not None}
                return Topic(**(parts if "kind" in parts else parts | {"kind": "object" if "object" in parts else "s"}))
    raise CodecError(f"{topic[:120]!r} is not a topic of this protocol")


def up(tenant: str, device: str, leaf: str) -> str:
    """Return a topic that `device` writes: `state`, `beat` or `req`."""
    return f"{PREFIX}/{tenant}/dev/{device}/up/{leaf}"


def upload(tenant: str, device: str, shard: int, transfer: bytes) -> str:
    """Return the topic of the pieces of one transfer, named by the first 16 bytes of its object's digest."""
    return f"{PREFIX}/{tenant}/dev/{device}/up/s{shard}/{transfer[:16].hex()}"


def down(tenant: str, device: str, leaf: str) -> str:
    """Return a topic that `device` alone reads: `rsp`, `cmd` or `gap`."""
    return f"{PREFIX}/{tenant}/dev/{device}/down/{leaf}"


def job(tenant: str, name: str, leaf: str) -> str:
    """Return a job's announcements: `round`, `model` or `result`."""
    return f"{PREFIX}/{tenant}/bcast/j/{name}/{leaf}"


def roles(tenant: str) -> str:
    """Return the topic of the newest roles document."""
    return f"{PREFIX}/{tenant}/bcast/roles"


def piece(tenant: str, name: str) -> str:
    """Return the topic of the pieces of the object whose digest is `name`, in hexadecimal."""
    return f"{PREFIX}/{tenant}/bcast/c/{name}"


def aggregator_state(tenant: str) -> str:
    """Return the topic of the aggregator's own birth and will."""
    return f"{PREFIX}/{tenant}/agg/state"


def everything_up(tenant: str) -> tuple[str, ...]:
    """Return the filters by which the aggregator hears every device."""
    return (f"{PREFIX}/{tenant}/dev/+/up/#",)


def grants(client: str, tenant: str, action: Action) -> tuple[str, ...]:
    """Return the filters within which a client may act; a broker's own rules are printed from these.

    Args:
        client: a device id, or `aggregator`.
        tenant: the client's tenant.
        action: what it wants to do.
    """
    base = f"{PREFIX}/{tenant}"
    if client == AGGREGATOR:
        publish = (f"{base}/dev/+/down/#", f"{base}/bcast/#", f"{base}/agg/state")
        return publish if action == "publish" else (f"{base}/dev/+/up/#",)
    if action == "publish":
        return (f"{base}/dev/{client}/up/#",)
    return (f"{base}/dev/{client}/down/#", f"{base}/bcast/#", f"{base}/agg/state")


def allowed(client: str, tenant: str, action: Action, topic: str) -> bool:
    """Return whether `client` may publish to a topic, or subscribe to a filter.

    A filter is allowed only if everything that it can match is. A published topic must also be one of the protocol's.
    """
    # Longer ones are nobody's, and must not fill the cache with what a client made up.
    return len(topic) <= MAX_LENGTH and _allowed(client, tenant, action, topic)


@lru_cache(maxsize=_CACHED)
def _allowed(client: str, tenant: str, action: Action, topic: str) -> bool:
    try:
        checked_name(client, "client id")
        if action == "publish":
            parse(topic)
    except CodecError:
        return False
    return any(covers(grant, topic) for grant in grants(client, tenant, action))


@lru_cache(maxsize=_CACHED)
def covers(grant: str, topic_filter: str) -> bool:
    """Return whether every topic that `topic_filter` matches is matched by `grant` (MQTT 3.1.1, section 4.7).

    A filter that is not well formed is covered by nothing.
    """
    if not well_formed(topic_filter):
        return False
    wide, narrow = grant.split("/"), topic_filter.split("/")
    for at, level in enumerate(wide):
        if level == "#":
            return True
        if at >= len(narrow) or narrow[at] == "#":
            return False
        if level not in ("+", narrow[at]):
            return False
    return len(wide) == len(narrow)


def well_formed(topic_filter: str) -> bool:
    """Return whether wildcards fill whole levels, `#` only the last (MQTT 3.1.1, section 4.7.1)."""
    levels = topic_filter.split("/")
    return 0 < len(topic_filter) <= MAX_LENGTH and not any(
        ("#" in level and (level != "#" or at < len(levels) - 1)) or ("+" in level and level != "+")
        for at, level in enumerate(levels)
    )


def kept(topic: str) -> bool:
    """Return whether a broker may keep the last message of a topic for those who come later.

    Births and announcements are kept; letters and pieces never are, or a device could fill a broker's memory.

    Raises:
        CodecError: it is not one of the protocol's topics.
    """
    found = parse(topic)
    return found.kind in ("state", "roles", "round", "model", "result")


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a topic without wildcards is matched by a filter."""
    return covers(topic_filter, topic)
