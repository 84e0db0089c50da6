"""A million coordinates and more: the letters fit, and neither side holds more than a few copies of a vector."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from accord.signing import SigningKey
from accord.update import packing
from accord.wire.chunks import Manifest, manifest
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import opened
from accord.wire.secure_sum import Masked
from tests.secagg.driven_cohort import BITS, SEAL, Fleet

LENGTH = 1_000_000
VECTOR = LENGTH * 4
"""Bytes of one vector in memory."""
IDENTITY = SigningKey(b"i" * 32)


@contextmanager
def at_most(copies: float) -> Iterator[None]:
    """Fail if more memory is taken on the way than so many copies of a vector."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < copies * VECTOR


def test_a_million_coordinates_are_summed_in_a_few_copies_of_a_vector() -> None:
    fleet = Fleet(6)
    collecting, masking = fleet.mask()
    rng, expected, waiting = np.random.default_rng(1), np.zeros(LENGTH, np.uint32), []
    for one, stage in list(zip(fleet.joining, masking, strict=True))[1:]:  # the first falls silent
        vector = rng.integers(0, 2**16, LENGTH, dtype=np.uint32)
        with at_most(5):
            following, masked, dealers = stage.mask(vector, BITS)
            message = Masked(dealers=dealers, vector=packing.pack(masked, BITS))
            del masked
        letter = seal(
            "masked/1",
            message.encode(),
            key=IDENTITY,
            sender=one.device,
            recipient="aggregator",
            context=stage.cohort.context,
        )
        data = letter.encode()
        with at_most(5):  # of the 2.5 bytes that each value takes on the way, and of the sum
            found = Envelope.decode(data)
            found.check(IDENTITY.public)
            update = opened(found, Masked)
            unpacked = packing.unpack(update.vector, LENGTH, BITS)
            collecting.add(one.device, update, unpacked, found.digest)
            del found, update, unpacked
        expected += vector
        waiting.append((one.device, following))
    with at_most(3):
        unmasking, survivors = collecting.close()
    for device, stage_two in waiting:
        unmasking.add(device, stage_two.survivors(survivors, SEAL.public)[1], SEAL)
    with at_most(4):
        total = unmasking.close(BITS)
    assert (total == expected % 2**BITS).all()
    assert unmasking.recovered == (fleet.joining[0].device,)


def test_a_letter_of_ten_million_values_of_32_bits_fits_one_manifest() -> None:
    data = bytes(packing.packed_size(10_000_000, 32) + 8_192)
    assert len(data) < min(Masked.LIMIT, Envelope.LIMIT)
    found = manifest(data)
    assert Manifest.decode(found.encode()).size == len(data)
