"""What the registry holds of a version, and the stages it goes through. Reads no database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from accord.errors import AccordError
from accord.wire.versions import Promotion, Version

FIRST_STAGE = "candidate"
NEXT_STAGES: Mapping[str, tuple[str, ...]] = {
    "candidate": ("staging", "production", "archived"),
    "staging": ("production", "archived"),
    "production": ("archived",),
    "archived": ("staging", "production"),
}
"""Where a promotion may lead. One version of a job is in production: the next one archives it."""


class RegistryError(AccordError):
    """The registry can't do what was asked for; the message says what stands in the way."""


class NotThePublisherError(RegistryError):
    """A promotion was not signed by the publisher whom the newest roles document names: sign it with that key."""

    reason = "NotThePublisher"


class OvertakenError(RegistryError):
    """Another promotion came first, or the registry changed: ask for the signature again."""

    reason = "Overtaken"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version as the registry holds it: its record, the digest it is known by, the signed letter, and its stage."""

    version: Version
    digest: bytes
    letter: bytes = field(repr=False)
    stage: str


def stages_after(promotions: Sequence[Promotion]) -> dict[int, str]:
    """Return the stage of every version of a job that was promoted, given its promotions in order."""
    stages: dict[int, str] = {}
    for promotion in promotions:
        if promotion.stage == "production":
            stages |= {version: "archived" for version, stage in stages.items() if stage == "production"}
        stages[promotion.version] = promotion.stage
    return stages


def differences(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
    """Return (before, after, after - before) of each figure that both versions have, by name."""
    return {name: (before[name], after[name], after[name] - before[name]) for name in sorted(before.keys() & after)}
