"""A batch that a table contains."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CommittedBatch:
    """A batch in the table: its id, its snapshot, and the number of rows it added."""

    batch_id: str
    snapshot_id: int
    rows: int
