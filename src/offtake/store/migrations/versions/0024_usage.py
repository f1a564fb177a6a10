"""Adds usage by month, filled from the runs that are stored, and monthly quotas.

Of past runs, rows, bytes and files are known; their CPU time is not, nor are runs of sandboxes that were reset.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_MONTH = {
    "sqlite": "strftime('%Y-%m', r.completed_at / 1000, 'unixepoch')",
    "postgresql": "to_char(to_timestamp(r.completed_at / 1000) AT TIME ZONE 'UTC', 'YYYY-MM')",
}
# Files that a run took over from a failed one are recorded with both, and were delivered by the failed one.
_FILL = """
INSERT INTO usage (sandbox_id, month, flow_id, dataset_id, connection_id, flow_name, dataset_name, connection_name,
                   rows, bytes, files, cpu_ms)
SELECT r.sandbox_id, {month}, r.flow_id, p.dataset_id, coalesce(t.base_connection_id, ''),
       coalesce(max(f.name), ''), coalesce(max(d.dataset_name), ''), coalesce(max(c.name), ''),
       coalesce(sum(p.rows), 0), coalesce(sum(p.bytes), 0), count(*), 0
FROM runs r
JOIN run_parts p ON p.run_id = r.id
LEFT JOIN run_datasets d ON d.run_id = r.id AND d.dataset_id = p.dataset_id
LEFT JOIN target_connections t ON t.id = r.target_connection_id
LEFT JOIN connections c ON c.id = t.base_connection_id
LEFT JOIN flows f ON f.id = r.flow_id
WHERE r.completed_at IS NOT NULL AND p.finished_at IS NOT NULL
  AND (r.status = 'success' OR r.disposal = 'kept' OR (r.status = 'failed' AND r.verdict IS NULL
       AND EXISTS (SELECT 1 FROM run_datasets e WHERE e.run_id = r.id AND e.error IS NOT NULL)))
  AND (p.intended_at IS NOT NULL OR (p.run_id, p.dataset_id) NOT IN
       (SELECT taken_over_by, dataset_id FROM run_datasets WHERE taken_over_by IS NOT NULL))
GROUP BY r.sandbox_id, {month}, r.flow_id, p.dataset_id, coalesce(t.base_connection_id, '')
"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "usage",
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("flow_id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("flow_name", sa.String(), nullable=False),
        sa.Column("dataset_name", sa.String(), nullable=False),
        sa.Column("connection_name", sa.String(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sandbox_id", "month", "flow_id", "dataset_id", "connection_id", name="pk_usage"),
    )
    op.create_table(
        "quotas",
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.Column("reached_month", sa.String(), nullable=True),
        sa.Column("noted_used", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sandbox_id", "measure", name="pk_quotas"),
    )
    op.add_column("runs", sa.Column("quota_since", sa.BigInteger(), nullable=True))
    op.add_column("run_parts", sa.Column("cpu_ms", sa.BigInteger(), nullable=True))
    held = sa.text("quota_since IS NOT NULL")
    op.create_index("ix_runs_quota", "runs", ["sandbox_id"], sqlite_where=held, postgresql_where=held)
    op.execute(_FILL.format(month=_MONTH[op.get_bind().dialect.name]))
