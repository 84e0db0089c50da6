"""What is kept of a device's check-ins: its key, its count of participations, its newest start, why it is barred."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; who checked in before stands anew."""
    for column in (
        sa.Column("identity", sa.LargeBinary(), nullable=False, server_default=sa.text("''")),
        sa.Column("sequence", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("newest_birth", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("reason", sa.String(64), nullable=False, server_default=sa.text("''")),
    ):
        op.add_column("devices", column)
