"""Tables that nothing has ever written go: the audit log and its salts are files beside the store.

A step of its own although nothing was released: 0001 has made state folders from a checkout, and the steps that made
them stay what they were.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

UNUSED = ("salts", "leaves", "checkpoints")


def upgrade() -> None:
    """Drop them, with whatever is in them."""
    for name in UNUSED:
        op.drop_table(name)
