"""The device's side once its vector is out: Unmasking -> Answered, in profile `strict` by way of Confirmed.

One answer is left to give, for one survivor set. In profile `strict` it is given only after a quorum of the roster has
signed that same set, so that no two sets can both be answered for.
"""

from accord.errors import LocalProtocolError, Refusal
from accord.plan import STRICT
from accord.secagg import quorum, sealing
from accord.secagg.commitments import SECRET
from accord.secagg.participation import Participation
from accord.secagg.stage import Stage
from accord.wire.secure_sum import Consistency, Quorum, Result, Survivors, Unmask


class Unmasking(Stage):
    """The vector is out; one answer is left to give."""

    def __init__(self, part: Participation, held: dict[int, bytes], dealers: bytes) -> None:
        super().__init__()
        self.cohort = part.cohort
        self._part, self._held, self._dealers = part, held, dealers

    def survivors(self, message: Survivors, seal_key: bytes) -> tuple["Answered", Unmask]:
        """Answer at once, in profile `standard`.

        Args:
            message: whose vectors arrived.
            seal_key: the aggregator's key that the signed plan names.

        Raises:
            Refusal: `AnsweredBefore`, `CalledDead`, `NotASharer` or `SmallCohort`.
        """
        if self.cohort.profile == STRICT:
            raise LocalProtocolError("in profile strict a survivor set is confirmed, and a quorum is answered")
        self._unleft("AnsweredBefore")
        alive = self._checked(message)
        self._leave("AnsweredBefore")
        return Answered(message.survivors), _answer(self._part, self._held, alive, seal_key)

    def confirm(self, message: Survivors) -> tuple["Confirmed", Consistency]:
        """Confirm a survivor set, in profile `strict`: whoever has signed one signs no other.

        Raises:
            Refusal: `SurvivorsChanged`, `CalledDead`, `NotASharer` or `SmallCohort`.
        """
        if self.cohort.profile != STRICT:
            raise LocalProtocolError(f"profile {self.cohort.profile} has no confirmations")
        self._unleft("SurvivorsChanged")
        alive = self._checked(message)
        self._leave("SurvivorsChanged")
        return Confirmed(self._part, self._held, alive, message.survivors), Consistency(survivors=message.survivors)

    def _checked(self, message: Survivors) -> set[int]:
        """Return the positions of the survivors, or refuse the set."""
        alive = set(self.cohort.positions(message.survivors))
        if self._part.place not in alive:
            raise Refusal("CalledDead", "the survivor set leaves this device out though its vector was sent")
        if not alive <= set(self.cohort.positions(self._dealers)):
            raise Refusal("NotASharer", "the survivor set names a member that dealt no shares")
        self._part.check_size(alive, "survivors")
        return alive


class Confirmed(Stage):
    """One survivor set was signed; it is answered for once a quorum has signed it, too."""

    def __init__(self, part: Participation, held: dict[int, bytes], alive: set[int], survivors: bytes) -> None:
        super().__init__()
        self.cohort = part.cohort
        self._part, self._held, self._alive, self._survivors = part, held, alive, survivors

    def quorum(self, message: Quorum, seal_key: bytes) -> tuple["Answered", Unmask]:
        """Answer, if enough members have signed the set that this device has signed.

        Args:
            message: the set, who signed it, and their signatures.
            seal_key: the aggregator's key that the signed plan names.

        Raises:
            Refusal: `AnsweredBefore`, or one of `quorum.check`.
        """
        self._unleft("AnsweredBefore")
        quorum.check(message, self.cohort, self._survivors)
        self._leave("AnsweredBefore")
        return Answered(self._survivors), _answer(self._part, self._held, self._alive, seal_key)


class Answered(Stage):
    """Nothing is left to give; the RESULT must fit what was answered."""

    def __init__(self, survivors: bytes) -> None:
        super().__init__()
        self._survivors = survivors

    def result(self, message: Result) -> bool:
        """Return whether our update is in the sum.

        Raises:
            Refusal: `ResultContradicts`: treat the update as included, since it may be.
        """
        self._leave("AnsweredBefore")
        if message.status == "aborted":
            if message.included:
                raise Refusal("ResultContradicts", "an aborted attempt includes nobody")
            return False
        if not message.included or message.survivors != self._survivors:
            raise Refusal("ResultContradicts", "the result names another survivor set than the one answered for")
        return True


def _answer(part: Participation, held: dict[int, bytes], alive: set[int], seal_key: bytes) -> Unmask:
    """Return one share per neighbour that dealt: of its self mask if its vector arrived, else of its mask key.

    Never both.
    """
    answer = b"".join(
        share[:SECRET] if position in alive else share[SECRET:] for position, share in sorted(held.items())
    )
    way = sealing.Direction(label="unmask", context=part.cohort.context, sender=part.device, recipient="aggregator")
    return Unmask(sealed=sealing.sealed(part.seal, seal_key, answer, way))
