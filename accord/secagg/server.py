"""The aggregator's side: Sharing -> Collecting -> Unmasking -> the sum, for one cohort.

Every `add` is idempotent for the same message and refuses another one. A stage is closed by whoever keeps the time;
it then gives the next stage, or `Aborted` by name. There is never a wrong number: a wrong holder is skipped and named,
a wrong dealer is named and the cohort is aborted.
"""

import numpy as np

from accord import prg
from accord.errors import Aborted, Refusal
from accord.plan import CLASSIC, HYBRID
from accord.secagg import entries, hybrid, keys, pair_secret, ring, sealing, shamir
from accord.secagg.cohort import Cohort
from accord.secagg.commitments import SECRET, SHORT_HASH, half_hash
from accord.wire.secure_sum import Masked, Share, Shares, Survivors, Unmask


def _needed(cohort: Cohort, floor: int) -> int:
    return max(cohort.threshold, floor)


class Sharing:
    """Collects SHARE from the members of a cohort."""

    def __init__(self, cohort: Cohort, floor: int) -> None:
        self.cohort = cohort
        self._floor = floor
        self._dealt: dict[int, Share] = {}

    @property
    def complete(self) -> bool:
        """Whether every member has dealt."""
        return len(self._dealt) == self.cohort.size

    def add(self, device: str, message: Share) -> None:
        """Take one member's shares.

        Raises:
            Refusal: `NotAMember`, `WrongShape` or `SharesChanged`.
        """
        place = self.cohort.position(device)
        near = len(self.cohort.holders(place))
        if len(message.hashes) != near or len(message.sealed) != near - 1:
            raise Refusal("WrongShape", f"{device} dealt {len(message.sealed)} shares, and has {near - 1} neighbours")
        others = (p for p in self.cohort.holders(place) if p != place)
        mixed = self.cohort.hybrid
        for p, entry in zip(others, message.sealed, strict=True):
            if len(entry) != entries.size(hybrid=mixed, upwards=place < p):
                raise Refusal("WrongShape", f"{device} dealt {len(entry)} bytes to {self.cohort.devices[p]}")
        if self._dealt.setdefault(place, message) != message:
            raise Refusal("SharesChanged", f"{device} dealt twice, differently")

    def close(self) -> tuple["Collecting", dict[str, Shares]]:
        """Return the next stage, and SHARES for each dealer.

        Raises:
            Aborted: `TooFewShares`.
        """
        cohort = self.cohort
        if len(self._dealt) < _needed(cohort, self._floor):
            raise Aborted(
                "TooFewShares", f"{len(self._dealt)} of {cohort.size} dealt; {_needed(cohort, self._floor)} needed"
            )
        dealers = sorted(self._dealt)
        bitmap = cohort.bitmap(dealers)
        to: dict[int, list[bytes]] = {place: [] for place in dealers}
        for dealer in dealers:  # ascending, so each gets its own in the dealers' order
            others = (place for place in cohort.holders(dealer) if place != dealer)
            for place, sealed in zip(others, self._dealt[dealer].sealed, strict=True):
                if place in to:
                    to[place].append(sealed)
        answers = {cohort.devices[place]: Shares(dealers=bitmap, sealed=tuple(sealed)) for place, sealed in to.items()}
        return Collecting(cohort, self._floor, self._dealt, bitmap), answers


class Collecting:
    """Folds masked vectors into the sum as they arrive, so that memory grows with the model alone."""

    def __init__(self, cohort: Cohort, floor: int, dealt: dict[int, Share], bitmap: bytes) -> None:
        self.cohort = cohort
        self._floor, self._dealt, self._bitmap = floor, dealt, bitmap
        self._digests: dict[int, bytes] = {}
        self._sum: ring.Ring | None = None

    @property
    def complete(self) -> bool:
        """Whether every dealer's vector is in."""
        return len(self._digests) == len(self._dealt)

    def add(self, device: str, message: Masked, vector: ring.Ring, digest: bytes = b"") -> None:
        """Take one device's masked vector, unpacked by the caller to the plan's length.

        Args:
            device: whose.
            message: what it sent.
            vector: uint32 of shape (n,), unpacked from the message.
            digest: of its letter's payload, where the caller has it: a vector is long, and is hashed once.

        Raises:
            Refusal: `NotADealer`, `WrongDealers` or `MaskedBefore`.
        """
        place = self.cohort.position(device)
        if place not in self._dealt:
            raise Refusal("NotADealer", f"{device} dealt no shares")
        if message.dealers != self._bitmap:
            raise Refusal("WrongDealers", f"{device} masked against another set of dealers")
        name = digest or prg.digest(message.vector)
        if self._digests.setdefault(place, name) != name:
            raise Refusal("MaskedBefore", f"{device} sent two different masked vectors")
        if self._sum is None:
            self._sum = np.zeros(vector.size, np.uint32)
            self._added: set[int] = set()
        if place not in self._added:
            self._added.add(place)
            self._sum += vector

    def close(self) -> tuple["Unmasking", Survivors]:
        """Return the next stage and SURVIVORS.

        Raises:
            Aborted: `TooFewVectors`.
        """
        if self._sum is None or len(self._digests) < _needed(self.cohort, self._floor):
            needed = _needed(self.cohort, self._floor)
            raise Aborted("TooFewVectors", f"{len(self._digests)} of {self.cohort.size} vectors; {needed} needed")
        alive = sorted(self._digests)
        following = Unmasking(self.cohort, self._dealt, alive, self._sum)
        return following, Survivors(survivors=self.cohort.bitmap(alive))


class Unmasking:
    """Collects answers, opens one secret per dealer, and takes the masks off the sum.

    `wrong_holders` are the devices whose answers did not fit the commitments; they were skipped.
    """

    def __init__(self, cohort: Cohort, dealt: dict[int, Share], alive: list[int], total: ring.Ring) -> None:
        self.cohort = cohort
        self._dealt, self._alive, self._sum = dealt, frozenset(alive), total
        self._answers: dict[int, dict[int, bytes]] = {}
        self._sealed: dict[int, bytes] = {}
        self._expected: dict[int, list[tuple[int, bytes]]] = {place: [] for place in alive}
        """For each survivor the dealers of whom it holds a share, ascending, with the hash of the half it may give."""
        for dealer, share in sorted(dealt.items()):
            start = 0 if dealer in self._alive else SHORT_HASH
            for place, hashes in zip(cohort.holders(dealer), share.hashes, strict=True):
                if place in self._expected:
                    self._expected[place].append((dealer, hashes[start : start + SHORT_HASH]))
        self.wrong_holders: set[str] = set()

    @property
    def survivors(self) -> tuple[str, ...]:
        """The devices whose vectors are in the sum."""
        return tuple(self.cohort.devices[place] for place in sorted(self._alive))

    @property
    def recovered(self) -> tuple[str, ...]:
        """The devices that dealt shares and dropped out: their masks are opened and taken off the sum."""
        return tuple(self.cohort.devices[place] for place in sorted(set(self._dealt) - self._alive))

    @property
    def complete(self) -> bool:
        """Whether every survivor has answered."""
        return len(self._sealed) == len(self._alive)

    def add(self, device: str, message: Unmask, seal_pair: keys.KeyPair) -> None:
        """Open one survivor's answer and check each share against its dealer's commitment.

        Raises:
            Refusal: `NotASurvivor`, `AnsweredBefore`, `BadSeal` or `WrongShape`.
        """
        cohort, place = self.cohort, self.cohort.position(device)
        if place not in self._alive:
            raise Refusal("NotASurvivor", f"{device} answers though its vector did not arrive")
        if self._sealed.setdefault(place, message.sealed) != message.sealed:
            raise Refusal("AnsweredBefore", f"{device} gave two different answers")
        if place in self._answers:
            return
        way = sealing.Direction(label="unmask", context=cohort.context, sender=device, recipient="aggregator")
        good = self._answers[place] = {}
        expected = self._expected[place]
        try:
            answer = sealing.opened(seal_pair, cohort.seal_keys[place], message.sealed, way, f"the answer of {device}")
        except Refusal:
            self.wrong_holders.add(device)
            raise
        if len(answer) != SECRET * len(expected):
            self.wrong_holders.add(device)
            raise Refusal("WrongShape", f"{device} answered for another number of dealers")
        for at, (dealer, hashed) in enumerate(expected):
            share = answer[at * SECRET : (at + 1) * SECRET]
            if half_hash(share) == hashed:
                good[dealer] = share
        if len(good) != len(expected):
            self.wrong_holders.add(device)

    def close(self, bits: int, spread: ring.Spread = map) -> ring.Ring:
        """Return the exact sum of the survivors' vectors modulo 2^`bits`, uint32 of shape (n,).

        Args:
            bits: m.
            spread: shares the work on the masks, as in `ring.add_masks`.

        Raises:
            Aborted: `TooFewAnswers`, or `WrongDealer` with the dealer's id.
        """
        secrets = self._opened()
        seeds = [self._seeds(dealer, secret) for dealer, secret in secrets.items()]
        total = self._sum.copy()
        ring.add_masks(total, (seed for of_dealer in seeds for seed in of_dealer), bits, spread)
        return ring.reduced(total, bits)

    def _opened(self) -> dict[int, bytes]:
        """Combine t good shares of each dealer, all dealers at once, and check what comes out."""
        cohort = self.cohort
        dealers, places, shares = sorted(self._dealt), [], []
        for dealer in dealers:
            ranked = enumerate(cohort.holders(dealer))
            holders = [(rank, p) for rank, p in ranked if dealer in self._answers.get(p, ())][: cohort.threshold]
            if len(holders) < cohort.threshold:
                raise Aborted(
                    "TooFewAnswers",
                    f"{len(holders)} good shares of {cohort.devices[dealer]}; {cohort.threshold} needed",
                )
            places.append([rank for rank, _ in holders])
            shares += [self._answers[place][dealer] for _, place in holders]
        opened = dict(zip(dealers, shamir.combine_all(places, shares), strict=True))
        for dealer, secret in opened.items():
            self._check(dealer, secret)
        return opened

    def _check(self, dealer: int, secret: bytes) -> None:
        """Compare an opened secret with what its dealer committed to."""
        if dealer in self._alive:
            good = prg.digest(secret) == self._dealt[dealer].commitment
        else:
            good = self._pair(secret).public == self.cohort.mask_keys[dealer]
        if not good:
            name = self.cohort.devices[dealer]
            raise Aborted("WrongDealer", f"{name} dealt shares of another secret", name)

    def _seeds(self, dealer: int, secret: bytes) -> list[tuple[bytes, bool]]:
        """Return the masks that come off with a dealer's secret, each with whether it is subtracted.

        Of a survivor that is its own mask, of a dropout the masks that it shares with survivors.
        """
        cohort, one = self.cohort, self.cohort.devices[dealer]
        if dealer in self._alive:
            return [(keys.self_seed(secret, cohort.context), True)]
        pair, seeds = self._pair(secret), []
        for place in cohort.holders(dealer):
            if place in self._alive:
                other, public = cohort.devices[place], cohort.mask_keys[place]
                more = self._second(dealer, pair, place) if cohort.hybrid else None
                seed = pair_secret.seed(pair, public, more, context=cohort.context, ends=(one, other))
                seeds.append((seed, other < one))
        return seeds

    def _pair(self, secret: bytes) -> keys.KeyPair:
        return hybrid.pair_of(secret, HYBRID if self.cohort.hybrid else CLASSIC)

    def _second(self, gone: int, pair: keys.KeyPair, alive: int) -> tuple[bytes, bytes]:
        """Return the second secret of a dropout's pair with a survivor, and the offer that it went in.

        The offer is the lower id's, dropout or survivor, and so is what is wrong with it.

        Raises:
            Aborted: `WrongDealer`, the secret is not the one that the lower id committed to.
        """
        cohort, lower, higher = self.cohort, min(gone, alive), max(gone, alive)
        others = [place for place in cohort.holders(lower) if place != lower]
        entry = self._dealt[lower].sealed[others.index(higher)]
        offered = entries.offer_in(entry, hybrid=True, upwards=True)
        ends = (cohort.devices[lower], cohort.devices[higher])
        try:
            if gone == higher:
                return pair_secret.taken(pair, offered, cohort.context, *ends), offered
            secret = pair_secret.own(pair.secret, cohort.context, *ends)
            pair_secret.check(secret, offered, *ends)
        except Refusal as refusal:
            raise Aborted("WrongDealer", refusal.detail, ends[0]) from refusal
        return secret, offered
