"""A server that says to each device what it likes, devices that collude with it, and what it then knows.

The honest devices are the real stages of `accord.secagg.client`. What the server knows is what it has really decrypted
and combined, so no rule that could be wrong stands between an attack and the oracle of `secrecy`.
"""

from collections.abc import Iterable

import nacl.bindings
import numpy as np

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.secagg import client, keys, ring, shamir
from accord.secagg.cohort import new_roster, verified
from accord.secagg.commitments import SECRET
from accord.signing import SigningKey
from accord.wire import secure_sum
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF
from accord.wire.secure_sum import Share, Shares, Survivors
from tests.secagg.driven_cohort import AUTHORITY, BITS, LENGTH, SEAL, answer_key, certificate, member
from tests.secagg.secrecy import STRICT, openable

HAS_STRICT = hasattr(client, "Confirmed")
PROFILES = ("standard", STRICT) if HAS_STRICT else ("standard",)


class Cohort:
    """One roster of one attempt: what was dealt and masked in it, and which shares the server holds."""

    def __init__(self, server: "LyingServer", attempt: int, numbers: tuple[int, ...]) -> None:
        joining = [server.joining(number, attempt) for number in numbers]
        context = server.context(attempt)
        self.numbers = numbers
        self.roster = new_roster(f"c-{attempt}", server.profile, [member(one) for one in joining])
        self.cohort = verified(self.roster, context, server.profile, AUTHORITY)
        self.dealt: dict[int, Share] = {}
        self.masked: dict[int, tuple[tuple[int, ...], ring.Ring, ring.Ring]] = {}
        self.sets: set[bytes] = set()
        self.changed = True
        self.signed: dict[bytes, dict[int, bytes]] = {}
        self._self: dict[int, dict[int, bytes]] = {}
        self._mask: dict[int, dict[int, bytes]] = {}
        self.bad = [place for place, number in enumerate(numbers) if number < server.colluders]
        self._bad_secrets = {place: joining[place]._mask.secret for place in self.bad}
        self._bad_seals = {place: joining[place]._seal for place in self.bad}
        for place in self.bad:
            self.deal(place, server.shared(joining[place], self.roster).message)

    def deal(self, place: int, message: Share) -> None:
        """Take a SHARE; what colluders hold of it is known at once, both halves."""
        self.dealt[place], self.changed = message, True
        for holder in self.bad:
            if holder != place:
                key = keys.direction_key(
                    self._bad_seals[holder],
                    self.cohort.seal_keys[place],
                    label="share",
                    context=self.cohort.context,
                    sender=self.cohort.devices[place],
                    recipient=self.cohort.devices[holder],
                )
                share = keys.unlock(key, message.sealed[holder - (holder > place)], "a share")
                self._self.setdefault(place, {})[holder] = share[:SECRET]
                self._mask.setdefault(place, {})[holder] = share[SECRET:]

    def shares_for(self, place: int, dealers: Iterable[int]) -> Shares:
        """Return SHARES that names these dealers."""
        named = sorted(dealers)
        sealed = tuple(self.dealt[d].sealed[place - (place > d)] for d in named if d != place and d in self.dealt)
        return Shares(dealers=self.cohort.bitmap(named), sealed=sealed)

    def answered(self, place: int, alive: set[int], sealed: bytes) -> None:
        """Open an answer, as the aggregator can."""
        answer, self.changed = keys.unlock(answer_key(self.cohort, place), sealed, "an answer"), True
        for at, dealer in enumerate(self.masked[place][0]):
            kind = self._self if dealer in alive else self._mask
            kind.setdefault(dealer, {})[place] = answer[at * SECRET : (at + 1) * SECRET]

    def secrets(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Return the secrets of own masks and the mask keys that all shares held so far really give."""
        own, mask = {}, dict(self._bad_secrets)
        for dealer, held in self._self.items():
            secret = _combined(held)
            if prg.digest(secret) == self.dealt[dealer].commitment:
                own[dealer] = secret
        for dealer, held in self._mask.items():
            secret = _combined(held)
            if nacl.bindings.crypto_scalarmult_base(secret) == self.cohort.mask_keys[dealer]:
                mask[dealer] = secret
        return own, mask

    def opened(self) -> list[frozenset[int]]:
        """Return the smallest sets of honest devices that the server can open, each of which it has opened."""
        own, mask = self.secrets()
        found = openable({place: dealers for place, (dealers, _, _) in self.masked.items()}, own, mask)
        for places in found:
            self._open(places, own, mask)
        return found

    def _open(self, places: frozenset[int], own: dict[int, bytes], mask: dict[int, bytes]) -> None:
        """Take the known masks off a sum, and compare: the oracle does not cry wolf."""
        total = sum((self.masked[place][1] for place in places), np.zeros(LENGTH, np.uint32))
        seeds, context, devices = [], self.cohort.context, self.cohort.devices
        for place in places:
            seeds.append((keys.self_seed(own[place], context), True))
            for peer in self.masked[place][0]:
                one, other = devices[place], devices[peer]
                holder = place if place in mask else peer
                if peer != place and holder in mask:
                    public = self.cohort.mask_keys[peer if holder == place else place]
                    pair = keys.KeyPair(mask[holder])
                    seed = keys.pair_seed(pair, public, context=context, one=one, other=other)
                    seeds.append((seed, one < other))
        ring.add_masks(total, seeds, BITS)
        plain = sum((self.masked[place][2] for place in places), np.zeros(LENGTH, np.uint32))
        assert (ring.reduced(total, BITS) == ring.reduced(plain, BITS)).all(), "the oracle says what is not so"

    def both(self) -> set[int]:
        """Return the honest devices of which both secrets are known."""
        own, mask = self.secrets()
        return set(own) & set(mask) - set(self.bad)


def _combined(held: dict[int, bytes]) -> bytes:
    return shamir.combine_all([list(held)], list(held.values()))[0]


class LyingServer:
    """Devices 0 to n - 1, of which the first `colluders` work with the server; every attempt has fresh keys."""

    def __init__(self, n: int, colluders: int, floor: int, profile: str) -> None:
        self.n, self.colluders, self.floor, self.profile = n, colluders, floor, profile
        self.attempt = 0
        self.cohorts: dict[tuple[int, tuple[int, ...]], Cohort] = {}
        self.at: dict[int, object] = {}
        self.where: dict[int, Cohort] = {}
        self.past: list[tuple[int, object, Cohort | None]] = []
        self.refusals: list[str] = []
        self.begin()

    def identity(self, number: int) -> SigningKey:
        """Return the key that a device has over all attempts."""
        return SigningKey(SeededEntropy(number)(32))

    def context(self, attempt: int) -> bytes:
        """Return an attempt's ctx1."""
        return prg.digest(b"attempt %d" % attempt)

    def joining(self, number: int, attempt: int) -> client.Joining:
        """Return a device with its fresh keys of an attempt: the same each time."""
        name, identity = f"dev-{number:03d}", self.identity(number)
        entropy = SeededEntropy(number).child("attempt", attempt)
        return client.Joining(name, identity, certificate(name, identity), self.context(attempt), entropy)

    def shared(self, joining: client.Joining, roster: object) -> client.Sharing:
        """Show a roster to a device."""
        return joining.roster(roster, AUTHORITY, profile=self.profile, floor=self.floor, cap=100)

    def begin(self) -> None:
        """Begin an attempt: whatever was under way stays as it is, known and unanswered."""
        self.attempt += 1
        self.where = {}
        self.at = {number: self.joining(number, self.attempt) for number in range(self.colluders, self.n)}

    def unmasking(self) -> list[int]:
        """Return where in `past` the devices of this attempt stand that have answered, or refused to."""
        now = set(map(id, (found for (attempt, _), found in self.cohorts.items() if attempt == self.attempt)))
        return [
            at for at, (_, s, where) in enumerate(self.past) if isinstance(s, client.Unmasking) and id(where) in now
        ]

    def cohort(self, numbers: tuple[int, ...]) -> Cohort:
        """Return the cohort of these devices in this attempt."""
        key = (self.attempt, numbers)
        if key not in self.cohorts:
            self.cohorts[key] = Cohort(self, self.attempt, numbers)
        return self.cohorts[key]

    def tell(self, number: int, chosen: frozenset[int] | None, *, one_set: bool = False) -> None:
        """Tell an honest device what it waits for: members, dealers or survivors, by number; None is the truth.

        With `one_set` nobody hears another survivor set than the first that was told in a cohort.
        """
        stage = self.at[number]
        try:
            self._told(number, chosen, one_set)
        except Refusal as refusal:
            self.refusals.append(refusal.reason)
        if self.at[number] is not stage:
            self.past.append((number, stage, self.where.get(number)))

    def tell_again(self, at: int, chosen: frozenset[int] | None, *, one_set: bool = False) -> None:
        """Tell a device something once more that it has heard before, in this attempt or an earlier one."""
        number, stage, where = self.past[at]
        kept = self.at[number], self.where.get(number)
        self.at[number] = stage
        if where is not None:
            self.where[number] = where
        self.tell(number, chosen, one_set=one_set)
        self.at[number] = kept[0]
        if kept[1] is not None:
            self.where[number] = kept[1]
        else:
            self.where.pop(number, None)

    def _told(self, number: int, chosen: frozenset[int] | None, one_set: bool) -> None:
        stage = self.at[number]
        if isinstance(stage, client.Joining):
            numbers = tuple(range(self.n)) if chosen is None else tuple(sorted(chosen))
            if len(numbers) < 3:
                return  # no roster is that small
            cohort = self.cohort(numbers)
            sharing = self.shared(stage, cohort.roster)
            self.where[number], self.at[number] = cohort, sharing
            cohort.deal(numbers.index(number), sharing.message)
            return
        cohort = self.where[number]
        place = cohort.numbers.index(number)
        places = None if chosen is None else {at for at, n in enumerate(cohort.numbers) if n in chosen}
        match stage:
            case client.Sharing():
                dealers = set(cohort.dealt) if places is None else places
                self.at[number] = stage.shares(cohort.shares_for(place, dealers))
            case client.Masking():
                vector = np.frombuffer(SeededEntropy(number).child("x", self.attempt)(4 * LENGTH), "<u4") & 0xFFFF
                following, masked, dealers_told = stage.mask(vector.astype(np.uint32), BITS)
                self.at[number], cohort.changed = following, True
                cohort.masked[place] = (cohort.cohort.positions(dealers_told), masked, vector.astype(np.uint32))
            case client.Unmasking():
                alive = set(cohort.masked) | set(cohort.bad) if places is None else places
                if one_set and cohort.sets:
                    alive = set(cohort.cohort.positions(next(iter(cohort.sets))))
                self._survivors(number, place, cohort, alive)
            case _ if HAS_STRICT and isinstance(stage, client.Confirmed):
                self._quorum(number, place, cohort, hurried=chosen is not None)

    def _survivors(self, number: int, place: int, cohort: Cohort, alive: set[int]) -> None:
        stage, message = self.at[number], Survivors(survivors=cohort.cohort.bitmap(alive))
        if self.profile == STRICT:
            following, confirmed = stage.confirm(message)
            signed = cohort.signed.setdefault(message.survivors, {})
            for at in (place, *cohort.bad):  # colluders sign whatever they are shown
                signed[at] = seal(
                    TAG_OF[type(confirmed)],
                    confirmed.encode(),
                    key=self.identity(cohort.numbers[at]),
                    sender=cohort.cohort.devices[at],
                    recipient="aggregator",
                    context=cohort.cohort.context,
                ).signature
            cohort.sets.add(message.survivors)
            self.at[number] = following
            return
        answered, answer = stage.survivors(message, SEAL.public)
        cohort.sets.add(message.survivors)
        cohort.answered(place, alive, answer.sealed)
        self.at[number] = answered

    def _quorum(self, number: int, place: int, cohort: Cohort, *, hurried: bool) -> None:
        stage = self.at[number]
        survivors = stage._survivors
        signed = cohort.signed[survivors]
        if len(signed) < cohort.cohort.threshold and not hurried:
            return  # the device would refuse, and be lost: the server waits for more
        message = secure_sum.Quorum(
            survivors=survivors,
            signers=cohort.cohort.bitmap(signed),
            signatures=tuple(signed[at] for at in sorted(signed)),
        )
        answered, answer = stage.quorum(message, SEAL.public)
        cohort.answered(place, set(cohort.cohort.positions(survivors)), answer.sealed)
        self.at[number] = answered
