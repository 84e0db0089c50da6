"""The device's side: Joining -> Sharing -> Masking -> Unmasking (-> Confirmed) -> Answered, and what it refuses.

A step consumes its stage and returns the next one with its message; a stage that was left refuses to be used again, so
no key pair sees two rosters, no vector is masked twice, and no dealer's second share is given away. What follows the
vector stands in `answering`.
"""

import numpy as np

from accord import prg
from accord.entropy import Entropy
from accord.errors import LocalProtocolError, Refusal
from accord.plan import SMALLEST_COHORT, Graph
from accord.secagg import keys, ring, shamir
from accord.secagg.answering import Answered, Confirmed, Unmasking
from accord.secagg.authority import Authority
from accord.secagg.cohort import USUAL, verified
from accord.secagg.commitments import SECRET, share_hash
from accord.secagg.members import member_of
from accord.secagg.participation import Participation
from accord.secagg.stage import Stage
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF
from accord.wire.secure_sum import Join, Roster, Share, Shares

__all__ = ["Answered", "Confirmed", "Joining", "Masking", "Sharing", "Unmasking"]


class Joining(Stage):
    """Fresh keys for one attempt, and the JOIN that shows them.

    Args:
        device: our id.
        identity: our identity key.
        certificate: our signed certificate.
        context: ctx1, 32 bytes.
        entropy: 96 bytes are drawn: two key pairs and the self mask's secret.
    """

    def __init__(self, device: str, identity: SigningKey, certificate: bytes, context: bytes, entropy: Entropy) -> None:
        super().__init__()
        self.device = device
        self._context = context
        self._entropy = entropy
        self._mask = keys.new_pair(entropy)
        self._seal = keys.new_pair(entropy)
        self._self = entropy(SECRET)
        join = Join(mask_key=self._mask.public, seal_key=self._seal.public, certificate=certificate)
        self.letter: Envelope = seal(
            TAG_OF[Join],
            join.encode(),
            key=identity,
            sender=device,
            recipient="aggregator",
            context=context,
        )

    @property
    def sealing(self) -> keys.KeyPair:
        """The pair under which this device seals; profile `off` needs it, as it has no later stage."""
        return self._seal

    def roster(
        self,
        roster: Roster,
        authority: Authority,
        *,
        profile: str,
        floor: int,
        cap: int,
        rule: Graph = USUAL,
        vouched: int = SMALLEST_COHORT,
        least_threshold: int = 0,
    ) -> "Sharing":
        """Verify the roster and split our secrets among its members.

        Args:
            roster: the aggregator's message, its signature checked by the caller.
            authority: whose certificates count.
            profile: the plan's.
            floor: the smallest cohort that this device accepts.
            cap: the largest one, the plan's: the width of the sum is made for it.
            rule: the plan's.
            vouched: of the members, how many this device must have verified itself. On a complete graph that is all.
            least_threshold: the shares that open a secret are at least so many percent of the roster.

        Raises:
            Refusal: `RosterChanged`, `LargeCohort`, `NotInRoster`, `SmallCohort`, `LowThreshold`, or one of
                `cohort.verified`.
        """
        self._leave("RosterChanged")
        if roster.size > cap:
            raise Refusal("LargeCohort", f"{roster.size} members where the plan allows {cap}")
        own = member_of(self.letter)
        cohort = verified(roster, self._context, profile, authority, rule=rule, own=own)
        if own not in roster.members:
            raise Refusal("NotInRoster", "the roster does not hold the JOIN that this device sent")
        if cohort.size < floor or cohort.shown < vouched:
            raise Refusal("SmallCohort", f"{cohort.size} members where this device asks for {max(floor, vouched)}")
        if 100 * cohort.threshold < least_threshold * cohort.size:
            raise Refusal(
                "LowThreshold",
                f"{cohort.threshold} of {cohort.size} members can open a secret; this device asks for "
                f"{least_threshold} % of them at least",
            )
        own_part = Participation(
            device=self.device,
            cohort=cohort,
            floor=floor,
            vouched=vouched,
            mask=self._mask,
            seal=self._seal,
            secret=self._self,
        )
        return Sharing(own_part, self._entropy)


class Sharing(Stage):
    """Our two secrets, split among our neighbours and ourselves; `message` is the SHARE."""

    def __init__(self, part: Participation, entropy: Entropy) -> None:
        super().__init__()
        self.cohort = part.cohort
        self._part = part
        self.place = part.place
        secret, cohort = part.secret, part.cohort
        near = part.near
        self._agreed = {
            position: part.seal.shared(cohort.seal_keys[position]) for position in near if position != self.place
        }
        shares = shamir.split(secret + part.mask.secret, len(near), cohort.threshold, entropy)
        self._own = shares[near.index(self.place)]
        self.message = Share(
            commitment=prg.digest(secret),
            hashes=tuple(share_hash(share) for share in shares),
            sealed=tuple(
                keys.lock(self._direction(position, outgoing=True), share)
                for position, share in zip(near, shares, strict=True)
                if position != self.place
            ),
        )

    def _direction(self, position: int, *, outgoing: bool) -> bytes:
        ends = (self._part.device, self.cohort.devices[position])
        sender, recipient = ends if outgoing else ends[::-1]
        return keys.derived(
            self._agreed[position],
            (self._part.seal.public, self.cohort.seal_keys[position]),
            label="share",
            context=self.cohort.context,
            sender=sender,
            recipient=recipient,
        )

    def shares(self, message: Shares) -> "Masking":
        """Open what the others dealt.

        Raises:
            Refusal: `SharesChanged`, `NotADealer`, `SmallCohort`, `MissingShare` or `BadSeal`.
        """
        self._leave("SharesChanged")
        dealers = self.cohort.positions(message.dealers)
        if self.place not in dealers:
            raise Refusal("NotADealer", "the aggregator says that this device dealt no shares")
        dealt = set(dealers)
        self._part.check_size(dealt, "members dealt shares")
        others = [position for position in self._part.near if position in dealt and position != self.place]
        if len(message.sealed) != len(others):
            raise Refusal("MissingShare", f"{len(message.sealed)} shares from {len(others)} dealers")
        held = {self.place: self._own}
        for position, sealed in zip(others, message.sealed, strict=True):
            key = self._direction(position, outgoing=False)
            held[position] = keys.unlock(key, sealed, f"the share of {self.cohort.devices[position]}")
        return Masking(self._part, held, message.dealers)


class Masking(Stage):
    """The shares of everyone who dealt; ready to mask one vector."""

    def __init__(self, part: Participation, held: dict[int, bytes], dealers: bytes) -> None:
        super().__init__()
        self.cohort = part.cohort
        self._part, self._held, self._dealers = part, held, dealers

    def mask(self, vector: ring.Ring, bits: int) -> tuple["Unmasking", ring.Ring, bytes]:
        """Mask `vector`, uint32 of shape (n,), modulo 2^`bits`.

        Returns:
            The next stage, the masked vector, and the bitmap of the dealers it was masked against.

        Raises:
            Refusal: `MaskedBefore`: a key never masks two inputs.
        """
        following = self.masked()
        if vector.dtype != np.uint32 or vector.ndim != 1:
            raise LocalProtocolError(f"a flat uint32 vector is masked, not {vector.dtype} of shape {vector.shape}")
        cohort, device = self.cohort, self._part.device
        seeds = [(keys.self_seed(self._part.secret, cohort.context), False)]
        for position in self._held:
            peer = cohort.devices[position]
            if peer != device:
                seed = keys.pair_seed(
                    self._part.mask, cohort.mask_keys[position], context=cohort.context, one=device, other=peer
                )
                seeds.append((seed, device > peer))
        masked = vector.copy()
        ring.add_masks(masked, seeds, bits)
        return following, ring.reduced(masked, bits), self._dealers

    def masked(self) -> "Unmasking":
        """Return the next stage without masking: the masked vector was written before a restart.

        Raises:
            Refusal: `MaskedBefore`.
        """
        self._leave("MaskedBefore")
        return Unmasking(self._part, self._held, self._dealers)
