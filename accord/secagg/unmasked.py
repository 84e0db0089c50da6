"""Profile `off`: the same integers and the same stages without masks, each vector sealed to the aggregator.

The aggregator sees every update, so a device takes part only if its own limits allow it. The thresholds of profile
`standard` hold here too: the same devices present give the same model, masked or not.
See docs/protocol.md, section 7.8.
"""

from accord import merkle, prg
from accord.cbor import encode
from accord.errors import Aborted, Refusal
from accord.plan import Graph
from accord.secagg import graph, keys, ring, sealing
from accord.secagg.cohort import USUAL
from accord.wire.secure_sum import Survivors

PROFILE = "off"


def second_context(context: bytes, cohort: str) -> bytes:
    """Return ctx2 of a cohort whose roster names nobody, 32 bytes."""
    return prg.digest(encode([context, cohort, 0, merkle.EMPTY_ROOT, PROFILE, 0, 0]))


def sealed_update(pair: keys.KeyPair, public: bytes, context: bytes, device: str, packed: bytes) -> bytes:
    """Return the packed vector of `device`, sealed to the aggregator's key `public`."""
    return sealing.sealed(pair, public, packed, _way(context, device))


def opened_update(pair: keys.KeyPair, public: bytes, context: bytes, device: str, data: bytes) -> bytes:
    """Return the packed vector that `device`, whose key is `public`, has sealed.

    Raises:
        Refusal: `BadSeal`.
    """
    return sealing.opened(pair, public, data, _way(context, device), f"the update of {device}")


def _way(context: bytes, device: str) -> sealing.Direction:
    return sealing.Direction(label="update", context=context, sender=device, recipient="aggregator")


class Collecting:
    """Adds vectors as they arrive; `close` gives the survivors in ascending order of ids."""

    def __init__(self, members: tuple[str, ...], floor: int, rule: Graph = USUAL) -> None:
        self.members = members
        self._threshold = graph.rule(len(members), rule)[1]
        self._needed = max(floor, self._threshold)
        self._digests: dict[str, bytes] = {}
        self._sum: ring.Ring | None = None

    @property
    def complete(self) -> bool:
        """Whether every member's vector is in."""
        return len(self._digests) == len(self.members)

    def add(self, device: str, vector: ring.Ring) -> None:
        """Take one device's vector, uint32 of shape (n,).

        Raises:
            Refusal: `NotAMember` or `MaskedBefore`.
        """
        if device not in self.members:
            raise Refusal("NotAMember", f"{device} is not in the cohort")
        name = prg.digest(vector.tobytes())
        if device in self._digests:
            if self._digests[device] != name:
                raise Refusal("MaskedBefore", f"{device} sent two different vectors")
            return
        self._digests[device] = name
        self._sum = vector.copy() if self._sum is None else self._sum + vector

    def close(self) -> tuple["Confirming", Survivors]:
        """Return the next stage and SURVIVORS.

        Raises:
            Aborted: `TooFewVectors`.
        """
        if self._sum is None or len(self._digests) < self._needed:
            raise Aborted(
                "TooFewVectors", f"{len(self._digests)} of {len(self.members)} vectors; {self._needed} needed"
            )
        alive = tuple(device for device in self.members if device in self._digests)
        number = sum(1 << at for at, device in enumerate(self.members) if device in self._digests)
        bitmap = number.to_bytes(-(-len(self.members) // 8), "little")
        return Confirming(alive, self._threshold, self._sum), Survivors(survivors=bitmap)


class Confirming:
    """Waits for as many confirmations as the masked profile needs shares of each secret: its threshold."""

    def __init__(self, alive: tuple[str, ...], threshold: int, total: ring.Ring) -> None:
        self.survivors = alive
        self.recovered: tuple[str, ...] = ()
        self.wrong_holders: set[str] = set()
        self._threshold, self._sum = threshold, total
        self._confirmed: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether every survivor has confirmed."""
        return len(self._confirmed) == len(self.survivors)

    def add(self, device: str) -> None:
        """Take one confirmation.

        Raises:
            Refusal: `NotASurvivor`.
        """
        if device not in self.survivors:
            raise Refusal("NotASurvivor", f"{device} answers though its vector did not arrive")
        self._confirmed.add(device)

    def close(self, bits: int, _spread: ring.Spread = map) -> ring.Ring:
        """Return the sum of the survivors' vectors modulo 2^`bits`; there is no mask to share the work on.

        Raises:
            Aborted: `TooFewAnswers`.
        """
        if len(self._confirmed) < self._threshold:
            raise Aborted("TooFewAnswers", f"{len(self._confirmed)} confirmations; {self._threshold} needed")
        return ring.reduced(self._sum, bits)
