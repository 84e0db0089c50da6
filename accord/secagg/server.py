"""The aggregator's side: Sharing -> Collecting -> Unmasking -> the sum, for one cohort.

Every `add` is idempotent for the same message and refuses another one. A stage is closed by whoever keeps the time;
it then gives the next stage, or `Aborted` by name. There is never a wrong number: a wrong holder is skipped and named,
a wrong dealer is named and the cohort is aborted.
"""

from dataclasses import replace

import numpy as np

from accord import prg
from accord.errors import Aborted, Refusal
from accord.plan import CLASSIC, HYBRID
from accord.secagg import entries, hybrid, keys, pair_secret, ring, sealing, shamir
from accord.secagg.cohort import Cohort
from accord.secagg.commitments import SECRET, SHORT_HASH, half_hash
from accord.secagg.dealt import Dealt, dealt, sealed_entries
from accord.wire.secure_sum import Masked, Share, Shares, Survivors, Unmask


def _needed(cohort: Cohort, floor: int) -> int:
    return max(cohort.threshold, floor)


class Sharing:
    """Collects SHARE from the members of a cohort."""

    def __init__(self, cohort: Cohort, floor: int) -> None:
        self.cohort = cohort
        self._floor = floor
        self._dealt: dict[int, Dealt] = {}

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
        found = dealt(self.cohort, place, message)
        if self._dealt.setdefault(place, found) != found:
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
            for place, sealed in sealed_entries(cohort, dealer, self._dealt[dealer].sealed):
                if place in to:
                    to[place].append(sealed)
        answers = {cohort.devices[place]: Shares(dealers=bitmap, sealed=tuple(sealed)) for place, sealed in to.items()}
        kept = self._dealt
        if not cohort.hybrid:  # with ML-KEM the offers in them are still to be opened
            kept = {place: replace(found, sealed=b"") for place, found in kept.items()}
        return Collecting(cohort, self._floor, kept, bitmap), answers


class Collecting:
    """Folds masked vectors into the sum as they arrive, so that memory grows with the model alone."""

    def __init__(self, cohort: Cohort, floor: int, shares: dict[int, Dealt], bitmap: bytes) -> None:
        self.cohort = cohort
        self._floor, self._dealt, self._bitmap = floor, shares, bitmap
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

    def __init__(self, cohort: Cohort, shares: dict[int, Dealt], alive: list[int], total: ring.Ring) -> None:
        self.cohort = cohort
        self._dealt, self._alive, self._sum = shares, frozenset(alive), total
        self._named: dict[int, bytes] = {}
        """The digest of each survivor's answer."""
        self._answers: dict[int, bytes] = {}
        """What stood in each: one half of a share for each dealer of `_expected`; empty if it could not be read."""
        self._wrong: dict[int, frozenset[int]] = {}
        """The dealers whose halves in an answer are not those that they committed to; who has none is left out."""
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
        return len(self._named) == len(self._alive)

    def add(self, device: str, message: Unmask, seal_pair: keys.KeyPair) -> None:
        """Open one survivor's answer and check each share against its dealer's commitment.

        Raises:
            Refusal: `NotASurvivor`, `AnsweredBefore`, `BadSeal` or `WrongShape`.
        """
        cohort, place = self.cohort, self.cohort.position(device)
        if place not in self._alive:
            raise Refusal("NotASurvivor", f"{device} answers though its vector did not arrive")
        name = prg.digest(message.sealed)
        if self._named.setdefault(place, name) != name:
            raise Refusal("AnsweredBefore", f"{device} gave two different answers")
        if place in self._answers:
            return
        way = sealing.Direction(label="unmask", context=cohort.context, sender=device, recipient="aggregator")
        self._answers[place] = b""
        expected = self._expected(place)
        try:
            answer = sealing.opened(seal_pair, cohort.seal_keys[place], message.sealed, way, f"the answer of {device}")
        except Refusal:
            self.wrong_holders.add(device)
            raise
        if len(answer) != SECRET * len(expected):
            self.wrong_holders.add(device)
            raise Refusal("WrongShape", f"{device} answered for another number of dealers")
        self._answers[place] = answer
        wrong = frozenset(
            dealer
            for at, (dealer, hashed) in enumerate(expected)
            if half_hash(answer[at * SECRET : (at + 1) * SECRET]) != hashed
        )
        if wrong:
            self._wrong[place] = wrong
            self.wrong_holders.add(device)

    def _expected(self, place: int) -> list[tuple[int, bytes]]:
        """Return the dealers of whom a survivor holds a share, ascending, with the hash of the half it may give.

        Who holds whose is mutual.
        """
        around, shares, alive = self.cohort.graph.around, self._dealt, self._alive
        return [
            (dealer, shares[dealer].hashed(around(dealer), place, 0 if dealer in alive else SHORT_HASH))
            for dealer in around(place)
            if dealer in shares
        ]

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
        cohort, none = self.cohort, frozenset[int]()
        dealers, ranks, shares = sorted(self._dealt), [], []
        read = {place: 0 for place, answer in self._answers.items() if answer}  # how far into each we are
        for dealer in dealers:
            holders: list[int] = []
            for rank, place in enumerate(cohort.holders(dealer)):
                at = read.get(place)
                if at is None:
                    continue
                read[place] = at + SECRET
                if len(holders) < cohort.threshold and dealer not in self._wrong.get(place, none):
                    holders.append(rank)
                    shares.append(self._answers[place][at : at + SECRET])
            if len(holders) < cohort.threshold:
                raise Aborted(
                    "TooFewAnswers",
                    f"{len(holders)} good shares of {cohort.devices[dealer]}; {cohort.threshold} needed",
                )
            ranks.append(holders)
        opened = dict(zip(dealers, shamir.combine_all(ranks, shares), strict=True))
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
        entry = dict(sealed_entries(cohort, lower, self._dealt[lower].sealed))[higher]
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
