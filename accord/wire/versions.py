"""What is said of a version of the model, and by whom it is signed: its making, its stage, its figures.

A version is known by the digest of its record's bytes; a later one names its parent by that digest, so versions form a
chain that nobody can change in the middle. See docs/protocol.md, section 6.7.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

from accord import cbor, prg
from accord.errors import CodecError
from accord.plan import LARGEST_COHORT, Task
from accord.records import Int, Many, Name, Nested, Octets, OneOf, Record, Text, field
from accord.values import dataclass

STAGES = ("candidate", "staging", "production", "archived")
ORIGINS = ("bundle", "round", "rollback")
_NUMBER = Int(0, 2**32)
_DIGEST = Octets(32)
_LARGEST_FIGURES = 4_096


@dataclass(frozen=True, kw_only=True)
class DataSchema(Record):
    """What one row of data must look like: a model fits every device whose rows have the same schema."""

    LIMIT: ClassVar[int] = 1 << 21

    input_shape: tuple[int, ...] = field(Many(Int(1, 2**24), 1, 4))
    columns: tuple[str, ...] = field(Many(Text(256), 0, 65_536))
    """Their names in order; empty where the job knows none."""
    task: Task = field(Nested(Task))

    @property
    def digest(self) -> bytes:
        """The data-schema version: 32 bytes."""
        return prg.digest(self.encode())


@dataclass(frozen=True, kw_only=True)
class CohortRoot(Record):
    """The commitment to one cohort of a round: its name, its roster's root, and the bitmap of survivors."""

    name: str = field(Name())
    root: bytes = field(_DIGEST)
    survivors: bytes = field(Octets(0, LARGEST_COHORT // 8))


@dataclass(frozen=True, kw_only=True)
class Version(Record):
    """Signed by the aggregator: one version of the model and what made it.

    `parent` is the digest of the version it came from, `restored` of the one whose parameters a rollback brings back;
    both are empty where there is none. `plan`, `previous` and `cohorts` are those of the round that made it, and
    `transcript` follows from them. `code` is the aggregator's release; `time` is wall time in seconds.

    Raises:
        CodecError: a field is out of its range, or what is said of its origin contradicts itself.
    """

    LIMIT: ClassVar[int] = 1 << 22

    tenant: str = field(Name())
    job: str = field(Name())
    version: int = field(_NUMBER)
    origin: str = field(OneOf(ORIGINS))
    parent: bytes = field(Octets(0, 32))
    restored: bytes = field(Octets(0, 32))
    round: int = field(_NUMBER)
    attempt: int = field(_NUMBER)
    plan: bytes = field(Octets(0, 32))
    previous: bytes = field(_DIGEST)
    cohorts: tuple[CohortRoot, ...] = field(Many(Nested(CohortRoot), 0, 65_536))
    transcript: bytes = field(_DIGEST)
    bundle: bytes = field(_DIGEST)
    params: bytes = field(_DIGEST)
    params_size: int = field(Int(1, 2**31))
    code: str = field(Text(64))
    data: DataSchema = field(Nested(DataSchema))
    roles_version: int = field(_NUMBER)
    time: int = field(Int(0, 2**48))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("parent", "restored", "plan"):
            if len(getattr(self, name)) not in (0, 32):
                raise CodecError(f"Version.{name} is a digest of 32 bytes, or empty")
        if bool(self.restored) != (self.origin == "rollback"):
            raise CodecError("a rollback, and nothing else, names the version that it brings back")
        if bool(self.plan) != (self.origin == "round") or bool(self.cohorts) != (self.origin == "round"):
            raise CodecError("a version that a round made, and no other, has a plan and cohorts")
        if self.origin != "bundle" and not self.parent:
            raise CodecError("only a version that a bundle starts has no parent")

    @property
    def digest(self) -> bytes:
        """What the version is known by: 32 bytes."""
        return prg.digest(self.encode())


@dataclass(frozen=True, kw_only=True)
class Promotion(Record):
    """Signed by the publisher: from now on this version of the job is in this stage.

    `number` counts the job's promotions from 1, so that none can be left out or played again.
    """

    tenant: str = field(Name())
    job: str = field(Name())
    number: int = field(Int(1, 2**32))
    version: int = field(_NUMBER)
    digest: bytes = field(_DIGEST)
    stage: str = field(OneOf(STAGES))
    roles_version: int = field(_NUMBER)
    time: int = field(Int(0, 2**48))


@dataclass(frozen=True, kw_only=True)
class Figure(Record):
    """A number with a name: mantissa * 2^exponent, exactly the float64 that was measured."""

    name: str = field(Text(64))
    mantissa: int = field(Int(1 - 2**53, 2**53 - 1))
    exponent: int = field(Int(-1_074, 971))

    @property
    def value(self) -> float:
        """The number."""
        return math.ldexp(self.mantissa, self.exponent)


@dataclass(frozen=True, kw_only=True)
class Measurement(Record):
    """Signed by the aggregator: figures of a version as one round measured them, sorted by name."""

    LIMIT: ClassVar[int] = 1 << 20

    job: str = field(Name())
    version: int = field(_NUMBER)
    digest: bytes = field(_DIGEST)
    round: int = field(_NUMBER)
    roles_version: int = field(_NUMBER)
    figures: tuple[Figure, ...] = field(Many(Nested(Figure), 1, _LARGEST_FIGURES))

    @property
    def values(self) -> dict[str, float]:
        """The figures by name."""
        return {figure.name: figure.value for figure in self.figures}


def figures_of(values: Mapping[str, float]) -> tuple[Figure, ...]:
    """Return named numbers as figures, sorted by name.

    Raises:
        CodecError: one is NaN or infinite, or a name is longer than 64 characters.
    """
    found = []
    for name, value in sorted(values.items()):
        if not math.isfinite(value):
            raise CodecError(f"figure {name[:64]!r} is {value}, not a number")
        fraction, exponent = math.frexp(value)
        lowest = max(exponent - 53, -1_074)  # subnormal numbers have fewer bits
        found.append(Figure(name=name, mantissa=int(math.ldexp(fraction, exponent - lowest)), exponent=lowest))
    return tuple(found)


def transcript_of(previous: bytes, plan: bytes, cohorts: tuple[CohortRoot, ...]) -> bytes:
    """Return a round's transcript hash: over the one before it, the plan's digest, and what its cohorts came to."""
    names = [[cohort.name, cohort.root, cohort.survivors] for cohort in cohorts]
    return prg.digest(cbor.encode(["accord/1/transcript", previous, plan, names]))
