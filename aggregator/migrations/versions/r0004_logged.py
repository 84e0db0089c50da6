"""How far the audit log knows the registry: commands make rollbacks and promotions, and the log has one writer."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table; rollbacks and promotions of before are then logged at the next start."""
    op.create_table(
        "logged",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("promotion", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_logged_job"),
        sa.PrimaryKeyConstraint("job", name="pk_logged"),
    )
