"""The device's side: Joining -> Sharing -> Masking -> Unmasking (-> Confirmed) -> Answered, and what it refuses.

A step consumes its stage and returns the next one with its message; a stage that was left refuses to be used again, so
no key pair sees two rosters, no vector is masked twice, and no dealer's second share is given away. See `stage` for
what leaves one. What follows the vector stands in `answering`.
"""

import numpy as np

from accord import prg
from accord.entropy import Entropy
from accord.errors import LocalProtocolError, Refusal
from accord.plan import CLASSIC, SMALLEST_COHORT, Graph
from accord.secagg import entries, hybrid, keys, pair_secret, ring, sealing, shamir
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
        suite: the plan's keys.

    Raises:
        Refusal: `NoPostQuantum`.
    """

    def __init__(
        self,
        device: str,
        identity: SigningKey,
        certificate: bytes,
        context: bytes,
        entropy: Entropy,
        *,
        suite: str = CLASSIC,
    ) -> None:
        super().__init__()
        self.device = device
        self._context = context
        self._entropy = entropy
        self._suite = suite
        self._mask = hybrid.new_pair(entropy, suite)
        self._seal = hybrid.new_pair(entropy, suite)
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
        kept: Share | None = None,
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
            kept: the SHARE that this device wrote before a restart; with ML-KEM no second one comes out like it.

        Raises:
            Refusal: `RosterChanged`, `LargeCohort`, `NotInRoster`, `SmallCohort`, `LowThreshold`, `WeakKey`, or one
                of `cohort.verified`.
        """
        self._unleft("RosterChanged")
        if roster.size > cap:
            raise Refusal("LargeCohort", f"{roster.size} members where the plan allows {cap}")
        own = member_of(self.letter)
        cohort = verified(roster, self._context, profile, authority, rule=rule, own=own, suite=self._suite)
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
        self._leave("RosterChanged")
        own_part = Participation(
            device=self.device,
            cohort=cohort,
            floor=floor,
            vouched=vouched,
            mask=self._mask,
            seal=self._seal,
            secret=self._self,
        )
        return Sharing(own_part, self._entropy, kept)


class Sharing(Stage):
    """Our two secrets, split among our neighbours and ourselves; `message` is the SHARE.

    Raises:
        LocalProtocolError: the SHARE that was kept is of other secrets.
    """

    def __init__(self, part: Participation, entropy: Entropy, kept: Share | None = None) -> None:
        super().__init__()
        self.cohort = part.cohort
        self._part = part
        self.place = part.place
        cohort, near = part.cohort, part.near
        self._others = [position for position in near if position != self.place]
        self._agreed = {position: part.seal.shared(cohort.seal_keys[position]) for position in self._others}
        shares = shamir.split(part.secret + part.mask.secret, len(near), cohort.threshold, entropy)
        self._own = shares[near.index(self.place)]
        commitment, hashes = prg.digest(part.secret), tuple(share_hash(share) for share in shares)
        if kept is not None and cohort.hybrid:
            if (kept.commitment, kept.hashes) != (commitment, hashes):
                raise LocalProtocolError("this device would send other shares than those that it wrote")
            self.message = kept
            return
        by_place = dict(zip(near, shares, strict=True))
        sealed = tuple(self._entry(position, by_place[position]) for position in self._others)
        self.message = Share(commitment=commitment, hashes=hashes, sealed=sealed)

    def _entry(self, position: int, share: bytes) -> bytes:
        """Return what we send one neighbour."""
        part, cohort, device = self._part, self.cohort, self._part.device
        peer, before = cohort.devices[position], b""
        if cohort.hybrid and self.place < position:
            before = pair_secret.offer(part.mask.secret, cohort.mask_keys[position], cohort.context, device, peer)
        way = sealing.Direction(label="share", context=cohort.context, sender=device, recipient=peer)
        public, agreed = cohort.seal_keys[position], self._agreed[position]
        return before + sealing.sealed(part.seal, public, share, way, agreed=agreed, before=before)

    def _opened(self, position: int, entry: bytes) -> tuple[bytes, bytes]:
        """Return the pair of shares and the offer in what one neighbour sent us.

        Raises:
            Refusal: `BadSeal`.
        """
        cohort, device, peer = self.cohort, self._part.device, self.cohort.devices[position]
        upwards = position < self.place
        offer = entries.offer_in(entry, hybrid=cohort.hybrid, upwards=upwards)
        way = sealing.Direction(label="share", context=cohort.context, sender=peer, recipient=device)
        public, agreed, what = cohort.seal_keys[position], self._agreed[position], f"the share of {peer}"
        share = sealing.opened(self._part.seal, public, entry[len(offer) :], way, what, agreed=agreed, before=offer)
        return share, offer

    def shares(self, message: Shares) -> "Masking":
        """Open what the others dealt.

        Raises:
            Refusal: `SharesChanged`, `NotADealer`, `SmallCohort`, `MissingShare`, `WrongShape`, `BadSeal` or
                `WrongPairSecret`.
        """
        self._unleft("SharesChanged")
        dealers = self.cohort.positions(message.dealers)
        if self.place not in dealers:
            raise Refusal("NotADealer", "the aggregator says that this device dealt no shares")
        dealt = set(dealers)
        self._part.check_size(dealt, "members dealt shares")
        others = [position for position in self._others if position in dealt]
        if len(message.sealed) != len(others):
            raise Refusal("MissingShare", f"{len(message.sealed)} shares from {len(others)} dealers")
        for position, entry in zip(others, message.sealed, strict=True):
            if len(entry) != entries.size(hybrid=self.cohort.hybrid, upwards=position < self.place):
                raise Refusal("WrongShape", f"an entry of {len(entry)} bytes from {self.cohort.devices[position]}")
        self._leave("SharesChanged")
        held, pairs = {self.place: self._own}, {}
        ours = dict(zip(self._others, self.message.sealed, strict=True))
        for position, entry in zip(others, message.sealed, strict=True):
            held[position], offered = self._opened(position, entry)
            if self.cohort.hybrid:
                pairs[position] = self._pair(position, offered, ours[position])
        return Masking(self._part, held, message.dealers, pairs)

    def _pair(self, position: int, offered: bytes, ours: bytes) -> tuple[bytes, bytes]:
        """Return the secret of a pair, 32 bytes, and the offer that it went in: theirs to us, or ours to them.

        Raises:
            Refusal: `WrongPairSecret`.
        """
        part, context, peer = self._part, self.cohort.context, self.cohort.devices[position]
        if offered:
            return pair_secret.taken(part.mask, offered, context, peer, part.device), offered
        offered = entries.offer_in(ours, hybrid=True, upwards=True)
        return pair_secret.own(part.mask.secret, context, part.device, peer), offered


class Masking(Stage):
    """The shares of everyone who dealt; ready to mask one vector."""

    def __init__(
        self,
        part: Participation,
        held: dict[int, bytes],
        dealers: bytes,
        pairs: dict[int, tuple[bytes, bytes]] | None = None,
    ) -> None:
        super().__init__()
        self.cohort = part.cohort
        self._part, self._held, self._dealers, self._pairs = part, held, dealers, pairs or {}

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
                seed = pair_secret.seed(
                    self._part.mask,
                    cohort.mask_keys[position],
                    self._pairs.get(position),
                    context=cohort.context,
                    ends=(device, peer),
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
