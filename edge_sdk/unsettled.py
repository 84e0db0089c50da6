"""The attempt before, whose vector was sent and whose RESULT had not come when a later attempt began.

It is asked for when the later attempt begins, after a restart, and whenever nothing comes; it is left as unknown when
another attempt has ended meanwhile, or takes its place. See docs/protocol.md, section 10.3.
"""

from accord.secagg import client
from accord.wire.check_in import Ask
from accord.wire.envelope import NO_CONTEXT, Envelope
from accord.wire.messages import Opening, opened
from edge_sdk.attempt import Attempt
from edge_sdk.saved import UNSETTLED
from edge_sdk.saved import Unsettled as Saved
from edge_sdk.session_state import SessionState
from edge_sdk.session_values import Effect, Forget, Keep, Send, Stage

SENT = frozenset((Stage.MASKED, Stage.CONFIRMED, Stage.ANSWERED))
"""Stages in which the vector has left this device, and may be in a sum."""


class Unsettled:
    """One session's.

    Args:
        state: the session's.
    """

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self.attempt: Attempt | None = None

    def question(self) -> bytes:
        """Return the letter that asks for a RESULT; empty if there is nothing to ask for."""
        attempt = self.attempt
        if attempt is None and self._state.stage is Stage.ANSWERED:
            attempt = self._state.attempt
        if attempt is None:
            return b""
        at = attempt.opening
        return self._state.sealed(Ask(job=at.job, round=at.round, attempt=at.attempt), NO_CONTEXT)

    def leave(self, attempt: Attempt) -> tuple[Effect, ...]:
        """Leave an attempt for a later one: ask what became of it if its vector was sent, else forget it."""
        if self._state.stage not in SENT:
            return (*self._state.residual.settled(attempt.second, included=False), self._state.ends())
        over = () if self.attempt is None else self._state.residual.unknown(self.attempt.second)
        self.attempt = attempt
        attempt.forget_secrets()
        saved = Saved(opening=attempt.opening_letter, context=attempt.second, survivors=attempt.survivors)
        ends = self._state.ends()
        return (*over, Keep(name=UNSETTLED, data=saved.encode()), ends, Send(data=self.question()))

    def found(self, saved: Saved) -> tuple[Effect, ...]:
        """Take what was written of it before a restart, and ask again."""
        attempt = Attempt(opened(Envelope.decode(saved.opening), Opening), saved.opening)
        attempt.second, attempt.survivors = saved.context, saved.survivors
        attempt.answered = client.Answered(saved.survivors) if saved.survivors else None
        self.attempt = attempt
        return (Send(data=self.question()),)

    def of(self, context: bytes) -> Attempt | None:
        """Return the attempt that a RESULT is bound to, if it is this one."""
        return self.attempt if self.attempt is not None and self.attempt.second == context else None

    @property
    def ours(self) -> bool:
        """Whether it is of this job: a device may have been given another one since."""
        return self.attempt is not None and self.attempt.opening.job == self._state.job

    def taken_back(self) -> tuple[Effect, ...]:
        """Ask no more, as it is under way again: power went while it was left, and what it sent is still in flight."""
        self.attempt = None
        return (Forget(names=(UNSETTLED,)),)

    def drop(self) -> tuple[Effect, ...]:
        """Ask no more: its RESULT has come, or nobody knows it."""
        if self.attempt is None:
            return ()
        over = self._state.residual.unknown(self.attempt.second)
        self.attempt = None
        return (*over, Forget(names=(UNSETTLED,)))
