"""Conditions of partial indexes. SQLite uses such an index only for the same condition without bound parameters."""

from typing import Final

from sqlalchemy import ColumnElement, and_, literal_column

from offtake.store.tables import Batch, Run

LIVE_RUN: Final[ColumnElement[bool]] = Run.status.in_((literal_column("'waiting'"), literal_column("'processing'")))
HELD_RUN: Final[ColumnElement[bool]] = and_(LIVE_RUN, Run.status == literal_column("'processing'"))
QUEUED_BATCH: Final[ColumnElement[bool]] = Batch.status.in_(
    (literal_column("'staged'"), literal_column("'processing'"))
)
HELD_BATCH: Final[ColumnElement[bool]] = and_(QUEUED_BATCH, Batch.status == literal_column("'processing'"))
LOADING_BATCH: Final[ColumnElement[bool]] = Batch.status == literal_column("'loading'")
