"""What one device carries from stage to stage of a secure sum, and whom of a cohort it knows."""

from collections.abc import Collection
from dataclasses import field

from accord.errors import Refusal
from accord.secagg import keys
from accord.secagg.cohort import Cohort
from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Participation:
    """What one device carries from stage to stage; nothing secret shows in its repr."""

    device: str
    cohort: Cohort
    floor: int
    vouched: int
    mask: keys.KeyPair = field(repr=False)
    seal: keys.KeyPair = field(repr=False)
    secret: bytes = field(repr=False)

    @property
    def place(self) -> int:
        """Our roster position."""
        return self.cohort.position(self.device)

    @property
    def near(self) -> tuple[int, ...]:
        """The positions that this device shares and masks with, its own among them."""
        return self.cohort.holders(self.place)

    def check_size(self, members: Collection[int], what: str) -> None:
        """Refuse too few members, in all or among those that this device has verified.

        Raises:
            Refusal: `SmallCohort`.
        """
        seen = len(members) if self.cohort.graph.complete else sum(position in members for position in self.near)
        if len(members) < self.floor or seen < max(self.vouched, self.cohort.threshold):
            raise Refusal("SmallCohort", f"only {len(members)} {what}, of whom this device knows {seen}")
