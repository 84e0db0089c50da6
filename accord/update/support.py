"""Opens the support that a plan names: which numbers of a change every device of the cohort sends.

Per-device choices would show which parameters a device's rows touch, and would not cancel under masks: all devices
send the same, but in open mode. The support comes with the plan, which has its digest.
"""

from accord.errors import CodecError
from accord.plan import Update
from accord.prg import digest
from accord.tensors import Layout
from accord.update import block_support as blocks
from accord.update.coordinates import Coordinates, Whole
from accord.update.subspace import Subspace


def opened(update: Update, data: bytes, layout: Layout) -> Coordinates:
    """Return the map of an update.

    Args:
        update: of the plan.
        data: the support's bytes; none for `dense` and in open mode.
        layout: the model's trainable tensors.

    Raises:
        CodecError: the bytes are not those that the plan names, or do not fit the model.
    """
    if update.kind == "dense" or update.open:
        if data:
            raise CodecError(f"an update of kind {update.kind} has no support")
        return Whole(layout)
    if digest(data) != update.support_digest:
        raise CodecError("the support is not the one that the plan names")
    if update.kind == "low-rank":
        return Subspace(layout, update.rank, data)
    return blocks.Blocks(layout, update.block, update.share, data)


def scored(update: Update, layout: Layout) -> int:
    """Return how many scores a device sends."""
    return blocks.count(layout.size, update.block) if update.kind == "block-score" else 0
