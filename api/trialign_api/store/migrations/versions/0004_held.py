"""The quota counts what an upload takes on disk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply. Of what is there its own length is counted, as before."""
    op.add_column("datasets", sa.Column("held", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE datasets SET held = size")


def downgrade() -> None:
    """Revert."""
    op.drop_column("datasets", "held")
