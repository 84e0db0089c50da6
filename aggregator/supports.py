"""Which numbers of a change the next round asks for: the plan's update and its support, from the sums of rounds before.

Whatever is drawn at random follows from the digest of the model that the round begins with: anyone can draw it again.
"""

from collections.abc import Sequence
from dataclasses import field as dataclasses_field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError, UsageError
from accord.plan import MICRO, Update
from accord.prg import NONCE_SIZE, digest, kdf, keystream
from accord.records import Int, Octets, Record, field
from accord.tensors import Layout, Vector
from accord.update import basis, subspace, topk
from accord.update import block_support as blocks
from accord.update.coordinates import Coordinates
from accord.update.support import opened
from accord.values import dataclass
from accord.wire.messages import LARGEST_SUPPORT
from aggregator.update_choice import AUTO, ON, UpdateChoice

BLOCK = 64
RANDOM = 0.2
"""Share of the blocks of a support that are drawn: a block that is never sent would never be scored high again."""
WARM_UP = 4
"""Dense rounds before the first support of blocks: its early rounds would lag behind."""
PAYS = 0.75
"""A support that sends more than this share of the parameters is not worth what it leaves out."""
SMALL = 16_384
"""Parameters below which such a model is sent in 16 bits: its update is as small as what goes with it."""
FEEDBACK = 10
"""The longest residual, in changes of a round."""
SELDOM = 0.02
"""Share of the devices in a round below which residuals are too old when they come back."""
OPEN_BITS = 16
"""Bits of the plan's scale in open mode: the narrow values that are sent count steps of it."""
_SCORE_ROOM = 4.0
"""A block's score may be this many times the largest mean before it is cut."""
MOST_SCORES = 1 << 22  # bytes


@dataclass(frozen=True, kw_only=True)
class SupportState(Record):
    """What the next support follows from: `bases` or `scores` (float32), and participations in `rounds` rounds."""

    LIMIT: ClassVar[int] = 1 << 23

    bases: bytes = field(Octets(0, MOST_SCORES))
    scores: bytes = field(Octets(0, MOST_SCORES))
    score_exponent: int = field(Int(-126, 128))
    rounds: int = field(Int(0, 2**32))
    seen: int = field(Int(0, 2**60))  # participations, in millionths of the fleet


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a training round asks for: the plan's update, its support, and the bits of a value."""

    update: Update
    support: bytes = dataclasses_field(default=b"", repr=False)
    bits: int


class Supports:
    """One job's.

    Args:
        choice: what a person asked for.
        layout: the model's trainable tensors.
        exponents: of the first scales; scores begin with them.

    Raises:
        UsageError: the model has more blocks than scores are kept of.
    """

    def __init__(self, choice: UpdateChoice, layout: Layout, exponents: Sequence[int]) -> None:
        self._choice, self._layout = choice, layout
        self._rank = subspace.fitting(layout, choice.rank, LARGEST_SUPPORT) if choice.rank else 0
        if self._rank and _of_both_sides(layout, self._rank) > 2 * PAYS * layout.size:
            self._rank = 0
        self._blocks = blocks.count(layout.size, BLOCK)
        if choice.kind == "block-score" and 4 * self._blocks > MOST_SCORES:
            raise UsageError(
                f"block-score keeps a score for each of at most {MOST_SCORES // 4} blocks, and a model of "
                f"{layout.size} parameters has {self._blocks}: use low-rank"
            )
        self._bases, self._scores = b"", np.zeros(0, np.float32)
        self._score_exponent = max(exponents) + 3 - choice.bits
        self._rounds = self._seen = 0

    def next(self, params: bytes, line: int = 0) -> Asked:
        """Return what the next training round asks for.

        Args:
            params: digest of the model's snapshot, which all that is random follows from.
            line: the version that the last rollback has made; 0 if there was none.
        """
        choice = self._choice
        if choice.open:
            return Asked(update=self._open(line), bits=OPEN_BITS)
        if choice.kind == "low-rank" and not self._rank:
            return self._whole()
        dense = choice.kind == "dense" or (choice.kind == "block-score" and self._rounds < WARM_UP)
        if dense:
            return Asked(update=Update(), bits=choice.bits)
        update, support = self._made(params, line)
        if choice.kind == "block-score" and sum(opened(update, support, self._layout).spans) > PAYS * self._layout.size:
            return self._whole()
        return Asked(update=update, support=support, bits=choice.bits)

    def _whole(self) -> Asked:
        """Ask for all parameters; so it is in all of a job's rounds, as what pays follows from the layout alone."""
        return Asked(update=Update(), bits=max(self._choice.bits, 16 if self._layout.size < SMALL else 8))

    def _open(self, line: int) -> Update:
        choice = self._choice
        return Update(
            kind=choice.kind,
            share=choice.share,
            feedback=self._feedback,
            bits=choice.bits,
            compression=choice.compression,
            line=line if self._feedback else 0,
        )

    @property
    def _feedback(self) -> int:
        often = self._seen >= SELDOM * MICRO * self._rounds
        return FEEDBACK if self._choice.feedback == ON or (self._choice.feedback == AUTO and often) else 0

    def sent(self, asked: Asked) -> int:
        """Return how many values each device sends."""
        if asked.update.open:
            return topk.most(asked.update.share, self._layout.size)
        return sum(self.coordinates(asked).spans)

    def took(self, asked: Asked, mean: Vector, scores: Vector, *, included: int, devices: int) -> None:
        """Take what a round gave.

        Args:
            asked: what `next` had returned.
            mean: the merged change, float32 of shape (K,).
            scores: summed, float32 of shape (blocks,); none where nothing was scored.
            included: devices in the sums.
            devices: that exist.
        """
        self._rounds += 1
        self._seen += round(MICRO * included / max(1, devices))
        coordinates = self.coordinates(asked)
        if isinstance(coordinates, subspace.Subspace):
            self._bases = subspace.encode(coordinates.following(mean))
        elif asked.update.kind == "block-score":
            self._scores = scores
            largest = float(scores.max(initial=0.0)) * _SCORE_ROOM / max(1, included)
            if largest > 0:
                self._score_exponent = max(-100, min(100, int(np.frexp(largest)[1]) - self._choice.bits))
        elif self._choice.kind == "block-score":
            starts = np.arange(0, self._layout.size, BLOCK)
            self._scores = np.sqrt(np.add.reduceat(np.square(mean.astype(np.float64)), starts)).astype(np.float32)

    def coordinates(self, asked: Asked) -> Coordinates:
        """Return the map of an update."""
        return opened(asked.update, asked.support, self._layout)

    def state(self) -> bytes:
        """Return what a restart needs."""
        return SupportState(
            bases=self._bases,
            scores=self._scores.astype("<f4").tobytes(),
            score_exponent=self._score_exponent,
            rounds=self._rounds,
            seen=self._seen,
        ).encode()

    def restore(self, data: bytes) -> None:
        """Go on from `state`.

        Raises:
            CodecError: it is another model's.
        """
        found = SupportState.decode(data)
        scores = np.frombuffer(found.scores, "<f4").astype(np.float32) if len(found.scores) % 4 == 0 else None
        if scores is None or scores.size not in (0, self._blocks):
            raise CodecError("the scores that were kept are another model's")
        self._bases, self._scores, self._score_exponent = found.bases, scores, found.score_exponent
        self._rounds, self._seen = found.rounds, found.seen

    def _made(self, params: bytes, line: int) -> tuple[Update, bytes]:
        choice, drawn = self._choice, kdf(params, b"accord/1/support")
        feedback = self._feedback
        line = line if feedback else 0
        if choice.kind == "low-rank":
            bases = self._bases or subspace.encode(_first(self._layout, self._rank, drawn))
            update = Update(
                kind="low-rank", rank=self._rank, feedback=feedback, support_digest=digest(bases), line=line
            )
            return update, bases
        mask = blocks.encode(self._chosen(drawn))
        update = Update(
            kind="block-score",
            block=BLOCK,
            share=choice.share,
            feedback=feedback,
            score_exponent=self._score_exponent,
            support_digest=digest(mask),
            line=line,
        )
        return update, mask

    def _chosen(self, seed: bytes) -> npt.NDArray[np.bool_]:
        """Return the blocks of the highest scores and, among the others, some at random."""
        wanted = blocks.chosen(self._choice.share, self._blocks)
        best = wanted - round(RANDOM * wanted)
        scores = self._scores if self._scores.size else np.zeros(self._blocks, np.float32)
        order = np.argsort(-scores, kind="stable")
        mask = np.zeros(self._blocks, bool)
        mask[order[:best]] = True
        rest = np.sort(order[best:])
        lots = np.frombuffer(keystream(seed, bytes(NONCE_SIZE), 8 * rest.size), "<u8")
        mask[rest[np.argsort(lots, kind="stable")[: wanted - best]]] = True
        return mask


def _of_both_sides(layout: Layout, rank: int) -> int:
    """Return how many numbers two rounds of low rank send, one of either side."""
    found = [
        (size, subspace.matrix(shape, rank)) for (_, shape), size in zip(layout.tensors, layout.sizes, strict=True)
    ]
    return sum(2 * size if sides is None else rank * sum(sides) for size, sides in found)


def _first(layout: Layout, rank: int, seed: bytes) -> list[basis.Basis]:
    """Return bases of random directions, for the first side of each matrix."""
    shapes = [found for _, shape in layout.tensors if (found := subspace.matrix(shape, rank)) is not None]
    sizes = [columns * rank for _, columns in shapes]
    words = np.frombuffer(keystream(seed, bytes(NONCE_SIZE), 4 * sum(sizes)), "<i4").astype(np.float64)
    parts = np.split(words, np.cumsum(sizes)[:-1]) if sizes else []
    return [basis.rounded(0, basis.orthonormal(part.reshape(-1, rank))) for part in parts]
