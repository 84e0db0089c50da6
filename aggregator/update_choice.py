"""How a job's devices send their changes, as a person writes it: `dense:16`, `block-score:0.1:8` or `low-rank:8:4`.

Without masks also `topk:0.01:8` and `ternary:0.01`, compressed with zlib, or with zstd as in `topk:0.01:8:zstd`.
"""

import math
from dataclasses import dataclass

from accord.errors import UsageError
from accord.plan import MICRO, OPEN
from accord.update.compression import COMPRESSIONS, ZLIB

DEFAULT = "low-rank:8:4"
"""See docs/adr/0024-low-rank-updates.md."""
WAYS = (
    "use dense:BITS, block-score:SHARE:BITS or low-rank:RANK:BITS, such as dense:16, block-score:0.1:8 or "
    "low-rank:8:4; without masks also topk:SHARE:BITS or ternary:SHARE, such as topk:0.01:8 or ternary:0.01"
)
EXAMPLES = {
    "dense": ("dense:BITS", "dense:16"),
    "block-score": ("block-score:SHARE:BITS", "block-score:0.1:8"),
    "low-rank": ("low-rank:RANK:BITS", "low-rank:8:4"),
    "topk": ("topk:SHARE:BITS, with :zlib or :zstd behind it or nothing", "topk:0.01:8"),
    "ternary": ("ternary:SHARE, with :zlib or :zstd behind it or nothing", "ternary:0.01"),
}
"""Of each kind its form, and such a one."""
NUMBERS = {"dense": 1, "block-score": 2, "low-rank": 2, "topk": 2, "ternary": 1}
OPEN_BITS = (8, 4, 1)
FEWEST_BITS, MOST_BITS = 2, 16
MOST_VECTORS = 256
AUTO, ON, FEEDBACK_OFF = "auto", "on", "off"
FEEDBACKS = (AUTO, ON, FEEDBACK_OFF)
"""Whether devices send later what an update leaves out; auto: where they take part often enough."""


@dataclass(frozen=True, kw_only=True)
class UpdateChoice:
    """One of the ways: bits of a value, and a share of the blocks in millionths or the rank of the bases.

    Raises:
        UsageError: the feedback is unknown, or is wanted where nothing is left out.
    """

    kind: str
    bits: int
    share: int = 0
    rank: int = 0
    compression: str = "none"
    feedback: str = AUTO

    def __post_init__(self) -> None:
        if self.feedback not in FEEDBACKS:
            raise UsageError(f"feedback {self.feedback!r} is unknown: use one of {', '.join(FEEDBACKS)}")
        if self.feedback == ON and self.kind == "dense":
            raise UsageError("a dense update leaves nothing out that could be sent later: leave feedback at auto")

    @property
    def open(self) -> bool:
        """Whether each device chooses the places itself: only without masks."""
        return self.kind in OPEN

    @classmethod
    def parse(cls, text: str, feedback: str = AUTO) -> "UpdateChoice":
        """Return the choice that `text` names.

        Raises:
            UsageError: it is none; the message says how one is written.
        """
        kind, *words = text.split(":")
        compression = words.pop() if kind in OPEN and words[-1:] and words[-1] in COMPRESSIONS else ZLIB
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) != NUMBERS.get(kind) or not all(math.isfinite(number) for number in numbers):
            if kind not in EXAMPLES:
                raise UsageError(f"update {text!r} is unknown: {WAYS}")
            form, example = EXAMPLES[kind]
            raise UsageError(f"update {text!r} is not {form}: write numbers, such as {example}")
        example = EXAMPLES[kind][1]
        first, bits = numbers[0], 1.0 if kind == "ternary" else numbers[-1]
        shared, ranked = kind in ("block-score", *OPEN), kind == "low-rank"
        if kind in OPEN and bits not in OPEN_BITS:
            raise UsageError(f"update {text!r} has values of {words[-1]} bits: use 8, 4 or 1, such as {example}")
        if kind not in OPEN and (bits != int(bits) or not FEWEST_BITS <= bits <= MOST_BITS):
            raise UsageError(
                f"update {text!r} has values of {words[-1]} bits: use {FEWEST_BITS} to {MOST_BITS}, such as {example}"
            )
        if shared and not 1 / MICRO <= first <= 1:
            raise UsageError(f"update {text!r} sends a share of {words[0]}: use 0.000001 to 1, such as {example}")
        if ranked and (first != int(first) or not 1 <= first <= MOST_VECTORS):
            raise UsageError(f"update {text!r} has a rank of {words[0]}: use 1 to {MOST_VECTORS}, such as {example}")
        return cls(
            kind=kind,
            bits=int(bits),
            share=round(first * MICRO) if shared else 0,
            rank=int(first) if ranked else 0,
            compression=compression if kind in OPEN else "none",
            feedback=feedback,
        )
