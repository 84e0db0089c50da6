"""What one attempt has gathered so far on the device; its secrets live in the secure sum's stages and go with it."""

from dataclasses import dataclass, field

from accord.entropy import SeededEntropy
from accord.plan import Plan
from accord.secagg import client
from accord.secagg.authority import Authority
from accord.wire.messages import Opening
from accord.wire.secure_sum import Share


@dataclass
class Attempt:
    """One attempt, from its opening to its result.

    `seed` is drawn for this attempt alone; every key, share and rounding of it comes from there, so that a device that
    lost power makes the same letters again.
    """

    opening: Opening
    opening_letter: bytes = field(repr=False)
    seed: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)  # what we checked in with: a newer one counts from the next on
    nonce: bytes = b""
    plan: Plan | None = None
    support: bytes = field(default=b"", repr=False)
    context: bytes = b""
    cohort: str = ""
    second: bytes = b""
    shares_letter: bytes = field(default=b"", repr=False)
    authority: Authority | None = None
    join: client.Joining | None = None
    kept_share: Share | None = field(default=None, repr=False)  # the SHARE that was written before a restart
    sharing: client.Sharing | None = None
    masking: client.Masking | None = None
    unmasking: client.Unmasking | None = None
    confirmed: client.Confirmed | None = None
    survivors: bytes = b""
    answered: client.Answered | None = None

    def forget_secrets(self) -> None:
        """Leave what could still be masked or opened; where the attempt was, and its contexts, stay."""
        self.seed = b""
        self.join = self.sharing = self.masking = self.unmasking = self.confirmed = None

    def entropy(self, use: str) -> SeededEntropy:
        """Return the bytes of this attempt for one named use."""
        return SeededEntropy(self.seed).child(use)
