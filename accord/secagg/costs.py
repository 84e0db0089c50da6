"""What one secure sum costs a device and the aggregator: bytes from the forms of the letters, seconds from unit costs.

The seconds are those of one core of a small x86 server with `cryptography` installed, measured in November 2026; a
Raspberry Pi 4 takes about ten times as long. Training, the model's way down and MQTT's own bytes are not in them.
"""

from accord.plan import CLASSIC, HYBRID, HYBRID_KEY, X25519_KEY
from accord.secagg import kem, pair_secret
from accord.secagg.planner import Choice
from accord.values import dataclass

LETTER = 150
"""Bytes of an envelope: names, context, signature."""
JOIN, MEMBER = 270, 254
"""Bytes of a JOIN, and of a roster's entry: keys, and the signatures of the JOIN and of the certificate."""
SHARE_UP, SHARE_DOWN, ANSWER, HASH = 34 + 82, 82, 32, 32
"""Bytes per neighbour of SHARE, SHARES and UNMASK, and of a hash in a sparse graph's roster."""
SIGNED = 64 + 2
"""Bytes of one signature in a list."""
LONGER_KEY = HYBRID_KEY - X25519_KEY
"""Bytes of an ML-KEM key; a member shows two, and the plan one."""
ENTRY = kem.CIPHERTEXT + pair_secret.OFFER / 2
"""More bytes of an entry of SHARE with ML-KEM, in the mean: an offer goes from the lower id of two alone."""
KEY_PAIRS, ENCAPSULATION, DECAPSULATION = 240e-6, 45e-6, 40e-6
"""Seconds of the two ML-KEM pairs of one device, of one ciphertext made, and of one opened."""
AGREEMENT, SIGNATURE, COMBINATION, SPLIT = 60e-6, 150e-6, 150e-6, 40e-6
"""Seconds of one derived key, one verified signature, one opened secret, and one share dealt."""
MASK = 1.0e-9
"""Seconds per coordinate of one mask."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one round: bytes of one device, CPU seconds of one device and of the aggregator."""

    vector: int
    up: int  # beside the vector
    down: int
    device_seconds: float
    aggregator_seconds: float


def cost(choice: Choice, length: int, keys: str = CLASSIC) -> Cost:
    """Return what a cohort costs.

    Args:
        choice: its size, graph and threshold.
        length: coordinates of a vector.
        keys: the plan's.
    """
    mixed = int(keys == HYBRID)
    members, near = choice.invited, choice.neighbours
    gone = members * choice.question.dropout
    bitmap, tree = -(-members // 8), 0 if choice.complete else HASH * _hashes(members, near + 1)
    quorum, strict = choice.quorum, bool(choice.quorum)
    coordinates = MASK * length
    return Cost(
        vector=-(-length * choice.modulus_bits // 8),
        up=(4 + strict) * LETTER
        + JOIN
        + near * (SHARE_UP + ANSWER)
        + mixed * (2 * LONGER_KEY + kem.CIPHERTEXT + round(near * ENTRY))
        + (1 + strict) * bitmap,
        down=(3 + strict) * LETTER
        + (near + 1) * (MEMBER + mixed * 2 * LONGER_KEY)
        + mixed * (LONGER_KEY + round(near * ENTRY))
        + tree
        + near * SHARE_DOWN
        + (2 + 2 * strict) * bitmap
        + quorum * SIGNED,
        device_seconds=near * (2 * AGREEMENT + 2 * SIGNATURE + SPLIT)
        + mixed * (KEY_PAIRS + (1.5 * near + 1) * ENCAPSULATION + 1.5 * near * DECAPSULATION)
        + (quorum + strict) * SIGNATURE
        + (near + 1) * coordinates,
        aggregator_seconds=members * ((5 + strict) * SIGNATURE + AGREEMENT + COMBINATION + 2 * coordinates)
        + mixed * (members * DECAPSULATION + gone * (KEY_PAIRS + near / 2 * DECAPSULATION))
        + gone * near * (AGREEMENT + coordinates),
    )


def unmasked_cost(vector: int) -> Cost:
    """Return what profile `off` costs a device whose vector has so many bytes: its letters, and next to no work."""
    return Cost(
        vector=vector,
        up=4 * LETTER + JOIN,
        down=3 * LETTER,
        device_seconds=AGREEMENT + SIGNATURE,
        aggregator_seconds=3 * SIGNATURE + AGREEMENT,
    )


def _hashes(members: int, shown: int) -> int:
    """Return how many hashes lie between so many leaves of a tree, at places drawn at random, in the mean."""
    found, nodes, unknown = 0.0, float(members), 1 - shown / members
    while nodes > 1:
        found += nodes * unknown * (1 - unknown)
        nodes, unknown = nodes / 2, unknown * unknown
    return round(found)
