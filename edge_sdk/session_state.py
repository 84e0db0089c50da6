"""What a device's session holds between two events: its stage, its attempt, its ledger and its last letter."""

from accord.errors import Refusal
from accord.records import Record
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Roles
from edge_sdk import acceptance
from edge_sdk.attempt import Attempt
from edge_sdk.residual import Residual
from edge_sdk.roles import RolesInForce
from edge_sdk.saved import FILES
from edge_sdk.session_values import (
    TRANSITIONS,
    Believe,
    Effect,
    Forget,
    Identity,
    Ledger,
    Limits,
    Refused,
    Send,
    Stage,
)


class SessionState:
    """One session's; those who take letters share it.

    Args:
        job: ours.
        identity: who we are and whom we believe.
        limits: what we refuse whatever a plan says.
        in_force: the roles documents that we believe.
        ledger: how far we had gone before.
        residual: what our updates have left out.
    """

    def __init__(
        self,
        *,
        job: str,
        identity: Identity,
        limits: Limits,
        in_force: RolesInForce,
        ledger: Ledger,
        residual: Residual,
    ) -> None:
        self.residual = residual
        self.job = job
        self.identity, self.limits, self.in_force, self.ledger = identity, limits, in_force, ledger
        self.stage = Stage.IDLE
        self.attempt: Attempt | None = None
        self.raw = b""
        """The letter in hand, as it came: it is written down, and never encoded anew."""
        self.last = b""
        """The letter that the aggregator has not answered yet: it is sent again, unchanged, when nothing comes."""

    @property
    def roles(self) -> Roles:
        """The roles document in force."""
        return self.in_force.current

    def turned(self) -> tuple[Effect, ...]:
        """Put a newer roles document in force, unless an attempt is under way: its plan names the one before."""
        data = b"" if self.attempt is not None else self.in_force.turn()
        if not data:
            return ()
        try:
            acceptance.check_own_certificate(self.identity, self.roles, self.in_force.now)
        except Refusal as refusal:
            return (Believe(roles=data), Refused(reason=refusal.reason, detail=refusal.detail))
        return (Believe(roles=data),)

    def current(self) -> Attempt:
        """Return the attempt under way.

        Raises:
            Refusal: `OutOfOrder`, there is none.
        """
        if self.attempt is None:
            raise Refusal("OutOfOrder", f"no attempt is under way while {self.stage.value}")
        return self.attempt

    def allowed(self, event: str) -> None:
        """Refuse what this stage does not take, as `OutOfOrder`."""
        if event not in TRANSITIONS[self.stage]:
            raise Refusal("OutOfOrder", f"{event} while {self.stage.value}")

    def move(self, event: str) -> None:
        """Go where an event leads, or refuse it as `OutOfOrder`."""
        self.allowed(event)
        self.stage = TRANSITIONS[self.stage][event]

    def bound(self, letter: Envelope, context: bytes, *recipients: str) -> None:
        """Refuse a letter that is not bound to this attempt or not meant for us.

        Raises:
            Refusal: `WrongContext` or `NotForUs`.
        """
        if letter.context != context:
            raise Refusal("WrongContext", f"{letter.tag} belongs to another round, attempt or cohort")
        if letter.recipient not in recipients:
            raise Refusal("NotForUs", f"{letter.tag} is for {letter.recipient}")

    def sealed(self, message: Record, context: bytes) -> bytes:
        """Return a letter of ours to the aggregator."""
        return seal(
            TAG_OF[type(message)],
            message.encode(),
            key=self.identity.key,
            sender=self.identity.device,
            recipient="aggregator",
            context=context,
        ).encode()

    def sent(self, data: bytes, payload: int = 0) -> Send:
        """Return the effect that sends a letter, which is then the last one."""
        self.last = data
        return Send(data=data, payload=payload)

    def ends(self) -> Forget:
        """Leave the attempt; what was written of it goes, the secrets first."""
        self.attempt, self.last = None, b""
        return Forget(names=tuple(FILES))
