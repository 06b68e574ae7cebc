"""What the queue knows of a job: how often it was checked, what it needs, when it is due, and that it was deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("checks", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("needs", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("due_at", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("deleted_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Revert."""
    for column in ("deleted_at", "due_at", "needs", "checks"):
        op.drop_column("jobs", column)
