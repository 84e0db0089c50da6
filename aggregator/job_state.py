"""From what a job goes on after a restart: where it stands between two rounds. One record, and the model it names."""

from typing import ClassVar

from accord.plan import Task
from accord.records import Int, Many, Nested, Octets, Record, field
from accord.update.advance import FINEST
from accord.update.delta import LONGEST
from accord.values import dataclass
from aggregator.advances import Kept

COLUMNS = 1 << 20
"""The most columns of inputs whose powers of two are kept."""


@dataclass(frozen=True, kw_only=True)
class JobState(Record):
    """Where one job stands between two rounds.

    `done` counts the job's rounds, `round` those of its coordinator, which are numbered on; `params` is the digest of
    the model's snapshot, in `Blobs`; `residual` that of what rounding the releases has left, empty if nothing is, and
    `advances` those of what the last versions were made with: in `Blobs`, too. `grid` has the exponent of each tensor's
    grid, `line` the version that the last rollback has made, or 0. `form` tells a record of an older Accord apart.
    """

    LIMIT: ClassVar[int] = 1 << 24

    form: int = field(Int(4, 4))
    done: int = field(Int(0, 2**32))
    exponents: tuple[int, ...] = field(Many(Int(-60, 60), 0, 4_096))
    offset: int = field(Int(-60, 60))
    support: bytes = field(Octets(1, 1 << 23))
    powers: tuple[int, ...] = field(Many(Int(-1_100, 1_100), 0, COLUMNS))
    largest_weight: int = field(Int(1, 2**31))
    task: Task = field(Nested(Task))
    round: int = field(Int(0, 2**32))
    transcript: bytes = field(Octets(32))
    version: int = field(Int(0, 2**32))
    line: int = field(Int(0, 2**32))
    params: bytes = field(Octets(32))
    grid: tuple[int, ...] = field(Many(Int(FINEST, 127), 1, 4_096))
    residual: bytes = field(Octets(0, 32))
    advances: tuple[Kept, ...] = field(Many(Nested(Kept), 0, LONGEST))

    @property
    def beside(self) -> frozenset[bytes]:
        """The digests of what it names beside the model."""
        return frozenset({self.residual, *(one.advance for one in self.advances)} - {b""})

    def rolled_back(self, version: int, params: bytes) -> "JobState":
        """Return from where the job goes on after a rollback that has made `version`, of parameters of that digest.

        What rounding has left, and what led to the versions before, belong to those, and go with them; so does what
        devices' updates have left out, as the plans name the new line.
        """
        kept = {name: getattr(self, name) for name, _ in self.kinds()}
        changed = {"version": version, "line": version, "params": params, "residual": b"", "advances": ()}
        return JobState(**kept | changed)
