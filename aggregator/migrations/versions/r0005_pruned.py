"""Versions whose parameters a person has let go."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table; it begins empty, as all parameters were kept before."""
    op.create_table(
        "pruned",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_pruned_job"),
        sa.PrimaryKeyConstraint("job", "version", name="pk_pruned"),
    )
