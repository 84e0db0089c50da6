"""How a release says what it changed, and why it is so: what devices fetch depends on it."""

from accord.tensors import Layout
from accord.update import blocks
from accord.update.advance import Advance

REASONS = {
    "factors": "the round was of low rank: its basis and coordinates say it all",
    "blocks": "the round changed some blocks: those have a number for each parameter",
    "whole": "the round changed every parameter, and each has a number",
    "still": "the parameters stayed as they were",
    "snapshot": "no whole numbers lead there exactly",
}
"""Each way, and when a release goes it."""


def way_down(found: Advance | None, layout: Layout) -> str:
    """Return the way of a release that this advance leads to; None is that nothing does."""
    if found is None:
        return "snapshot"
    if not any(found.widths):
        return "still"
    if found.rank:
        return "factors"
    return "whole" if blocks.decode(found.places, layout.size).all() else "blocks"
