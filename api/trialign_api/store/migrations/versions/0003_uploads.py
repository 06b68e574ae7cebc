"""Uploads for other purposes than logs, in parts too; jobs that are paused, have a priority or a time of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.add_column("datasets", sa.Column("purpose", sa.String(40), nullable=False, server_default="fine-tune"))
    op.add_column("datasets", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("max_seconds", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("file_id", sa.String(40), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("file_expires_at", sa.BigInteger(), nullable=True),
    )
    op.create_index("uploads_by_owner", "uploads", ["owner", "status"])
    op.create_table(
        "upload_parts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("upload_id", sa.String(40), sa.ForeignKey("uploads.id"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("parts_by_upload", "upload_parts", ["upload_id", "id"])


def downgrade() -> None:
    """Revert."""
    op.drop_table("upload_parts")
    op.drop_table("uploads")
    for table, column in (
        ("jobs", "paused"),
        ("jobs", "max_seconds"),
        ("jobs", "priority"),
        ("datasets", "expires_at"),
        ("datasets", "purpose"),
    ):
        op.drop_column(table, column)
