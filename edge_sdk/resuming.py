"""How a session comes back into the attempt whose files were found after a restart.

It goes through the letters again that were written, so it comes out where the device was, with the same bytes to send.
"""

import dataclasses
from collections.abc import Callable

from accord.errors import LocalProtocolError
from accord.secagg import client
from accord.wire.envelope import Envelope
from accord.wire.messages import Opening, opened
from accord.wire.secure_sum import Share
from edge_sdk.attempt import Attempt
from edge_sdk.checking_in import CheckingIn
from edge_sdk.saved import FILES, SECRET_FILES, AnsweredOnce, ConfirmedOnce, MaskedOnce, Saved, Shared, WithdrewOnce
from edge_sdk.session_state import SessionState
from edge_sdk.session_values import Charge, Effect, Forget, Send, Stage
from edge_sdk.summing import Summing


class Resuming:
    """One session's way back.

    Args:
        state: of a session that has just been made.
        checking_in: of the same.
        summing: of the same.
        arrived: gives the session a letter.
    """

    def __init__(
        self,
        state: SessionState,
        checking_in: CheckingIn,
        summing: Summing,
        arrived: Callable[[bytes], tuple[Effect, ...]],
    ) -> None:
        self._state, self._checking_in, self._summing, self._arrived = state, checking_in, summing, arrived

    def resume(self, saved: Saved) -> tuple[Effect, ...]:
        """Return what is to be sent or done again.

        Raises:
            AccordError: the files do not fit together.
        """
        if saved.answered is not None:
            return self._answered(saved.answered)
        if saved.withdrawn is not None:
            return self._withdrawn(saved.withdrawn)
        if saved.joined is None:  # power was lost while an attempt's files were deleted
            left = any((saved.shared, saved.masked, saved.confirmed))
            return (Forget(names=SECRET_FILES),) if left else ()
        joined, ledger = saved.joined, self._state.ledger
        opening = opened(Envelope.decode(joined.opening), Opening)
        if opening.round == ledger.sat_out or opening.round <= ledger.closed_round:  # power was lost while it was left
            return (Forget(names=tuple(FILES)),)
        charged = (ledger.round, ledger.attempt) == (opening.round, opening.attempt)
        if charged:  # what is charged is not charged again: the rules look at the ledger as it was before
            self._state.ledger = dataclasses.replace(ledger, round=opening.round, attempt=opening.attempt - 1)
        self._arrived(joined.opening)
        attempt = self._state.current()
        attempt.seed, attempt.certificate = joined.seed, joined.certificate
        self._checking_in.check_in()
        effects = self._arrived(joined.offer)
        if charged:
            self._state.ledger = ledger
            effects = ()
        if saved.shared is not None:
            self._shared(saved.shared)
        if saved.masked is not None:
            self._masked(saved.masked)
        if saved.confirmed is not None:
            self._confirmed(saved.confirmed)
        work = self._summing.work() if self._state.stage is Stage.WORKING else ()
        return (*(e for e in effects if isinstance(e, Charge)), *work, *self._again())

    def _shared(self, shared: Shared) -> None:
        if shared.letter:
            self._state.current().kept_share = opened(Envelope.decode(shared.letter), Share)
        self._arrived(shared.roster)
        if shared.letter not in (b"", self._state.last):
            raise LocalProtocolError("this device would send other shares than those that it wrote")

    def _masked(self, masked: MaskedOnce) -> None:
        if masked.shares:
            self._arrived(masked.shares)
        attempt = self._state.current()
        if attempt.masking is not None:
            attempt.unmasking = attempt.masking.masked()
        self._state.move("worked")
        self._state.last = masked.letter

    def _confirmed(self, confirmed: ConfirmedOnce) -> None:
        self._arrived(confirmed.survivors)
        if self._state.last != confirmed.letter:
            raise LocalProtocolError("this device would sign another survivor set than the one that it wrote")

    def _written(self, record: AnsweredOnce | WithdrewOnce) -> Attempt:
        """Return the attempt of which nothing but its end is left to do."""
        attempt = Attempt(opened(Envelope.decode(record.opening), Opening), record.opening)
        if attempt.opening.job != self._state.job:
            raise LocalProtocolError(
                f"the attempt was {attempt.opening.job}'s, and this device is {self._state.job}'s now"
            )
        attempt.second = record.context
        return attempt

    def _withdrawn(self, withdrew: WithdrewOnce) -> tuple[Effect, ...]:
        self._state.attempt = self._written(withdrew)
        self._state.stage, self._state.last = Stage.WITHDRAWN, withdrew.letter
        return (Forget(names=SECRET_FILES), *self._again())

    def _answered(self, answered: AnsweredOnce) -> tuple[Effect, ...]:
        attempt = self._written(answered)
        if answered.survivors:
            attempt.answered, attempt.survivors = client.Answered(answered.survivors), answered.survivors
        self._state.attempt, self._state.stage, self._state.last = attempt, Stage.ANSWERED, answered.letter
        return (Forget(names=SECRET_FILES), *self._again())

    def _again(self) -> tuple[Effect, ...]:
        return (Send(data=self._state.last),) if self._state.last else ()
