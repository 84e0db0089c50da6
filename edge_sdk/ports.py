"""What an agent needs of others: who does the work, and where what binds us is written. Holds no code of its own."""

from typing import Protocol

from accord.plan import Plan
from accord.update.pipeline import Contribution
from edge_sdk.session_values import Ledger


class Worker(Protocol):
    """Whoever does what a plan asks, such as `edge_sdk.trainer.Trainer`."""

    def work(self, plan: Plan, params: bytes) -> Contribution:
        """Return what this device contributes, or raise AccordError."""
        ...


class Records(Protocol):
    """Where what binds us is written before it leaves."""

    def charge(self, ledger: Ledger) -> None:
        """Write how far this device has gone."""
        ...

    def keep(self, name: str, data: bytes) -> None:
        """Write one of the attempt's files, before the letter in it leaves."""
        ...

    def hold(self, model: bytes, led: bytes) -> None:
        """Write the version of the model that this device holds; `led` is the delta that led there, if one did."""
        ...

    def believe(self, roles: bytes) -> None:
        """Write the roles document that is in force."""
        ...

    def forget(self, names: tuple[str, ...]) -> None:
        """Delete files of the attempt, in this order."""
        ...
