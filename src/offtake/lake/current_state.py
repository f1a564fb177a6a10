"""Checks that a table without rows to export is really empty: metadata can contradict itself, or be outdated.

The rules of the reference implementation: the current snapshot is listed, and is that of the branch `main`. A table can
have snapshots and no current one: all its writes were staged, or it was replaced by an empty table.
"""

from typing import Final

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from offtake.errors import EXPORT_FAILED, DeliveryError

_TOTAL_FILES: Final = "total-data-files"


def current_snapshot(table: Table) -> Snapshot | None:
    """The current snapshot of the table's main branch; None for a table whose main branch has none.

    Raises `DeliveryError` when the metadata contradicts itself about it.
    """
    main = table.metadata.refs.get(MAIN_BRANCH)
    named = table.metadata.current_snapshot_id
    found = table.current_snapshot()
    if named is not None and found is None:
        raise _contradiction(table, f"its current snapshot, {named}, is not among its snapshots")
    if main is not None and main.snapshot_id != named:
        raise _contradiction(
            table, f"its current snapshot is {named or 'missing'}, but its branch main is at {main.snapshot_id}"
        )
    return found


def check_not_outdated(table: Table, delivered: int) -> None:
    """Raise `DeliveryError` when a table that has no snapshot is older than the snapshot that was delivered from it."""
    if not table.metadata.snapshots:
        raise DeliveryError(
            EXPORT_FAILED,
            f"Table {_name(table)} has no snapshots, although snapshot {delivered} of it was delivered: its catalog "
            "answers with an older version of its metadata.",
            "Check the catalog. If all rows and snapshots were removed on purpose, register the table again.",
        )


def check_no_files(table: Table, snapshot_id: int) -> None:
    """Raise `DeliveryError` when the snapshot has no data files, but its summary counts some."""
    snapshot = table.snapshot_by_id(snapshot_id)
    summary = snapshot.summary if snapshot is not None else None
    counted = (summary.get(_TOTAL_FILES) if summary is not None else None) or "0"
    if counted.isdecimal() and int(counted):
        raise _contradiction(table, f"its snapshot {snapshot_id} lists no data files, but counts {counted}")


def _contradiction(table: Table, what: str) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The metadata of {_name(table)} contradicts itself: {what}.",
        "Check the catalog, and the program that wrote the table.",
    )


def _name(table: Table) -> str:
    return ".".join(table.name())
