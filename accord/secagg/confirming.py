"""The aggregator's stage of profile `strict` between SURVIVORS and QUORUM. What a device makes of one is `quorum`."""

from accord.errors import Aborted, Refusal
from accord.secagg import quorum
from accord.secagg.server import Unmasking
from accord.wire.secure_sum import Consistency, Quorum, Survivors


class Confirming:
    """Collects CONSISTENCY from the survivors.

    Args:
        following: the stage that waits for their answers.
        survivors: what they were told.
    """

    def __init__(self, following: Unmasking, survivors: Survivors) -> None:
        self.cohort, self.survivors = following.cohort, following.survivors
        self._following, self._set = following, survivors.survivors
        self._digest = quorum.signed_digest(self._set)
        self._signatures: dict[int, bytes] = {}

    @property
    def complete(self) -> bool:
        """Whether every survivor has signed."""
        return len(self._signatures) == len(self.survivors)

    def add(self, device: str, message: Consistency, signature: bytes) -> None:
        """Take one survivor's signature, 64 bytes, if devices will take it, too.

        Raises:
            Refusal: `NotAMember`, `NotASurvivor`, `OtherSurvivors`, it signed another set than it was told, or
                `ForgedSignature`.
        """
        place = self.cohort.position(device)
        if device not in self.survivors:
            raise Refusal("NotASurvivor", f"{device} confirms though its vector did not arrive")
        if message.survivors != self._set:
            raise Refusal("OtherSurvivors", f"{device} signed another survivor set than it was told")
        quorum.check_signature(self.cohort, place, self._digest, signature)
        self._signatures[place] = signature

    def close(self) -> tuple[Unmasking, Quorum]:
        """Return the stage that waits for answers, and QUORUM: t of the signatures, as more prove nothing more.

        Raises:
            Aborted: `TooFewConfirmations`.
        """
        needed = self.cohort.threshold
        if len(self._signatures) < needed:
            raise Aborted(
                "TooFewConfirmations", f"{len(self._signatures)} of {len(self.survivors)} confirmed; {needed} needed"
            )
        signers = sorted(self._signatures)[:needed]
        return self._following, Quorum(
            survivors=self._set,
            signers=self.cohort.bitmap(signers),
            signatures=tuple(self._signatures[place] for place in signers),
        )
