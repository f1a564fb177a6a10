"""Branches and tags of tables: an export can follow one of them instead of the main branch."""

from difflib import get_close_matches
from typing import Final

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from offtake.errors import OfftakeError

MAIN: Final = "main"
_SHOWN: Final = 20


class UnknownRefError(OfftakeError):
    """The table has no branch or tag with the name; the text has the known ones."""


def ref_snapshot(table: Table, ref: str | None) -> Snapshot | None:
    """The snapshot of the branch or tag, by default of main; None for the main branch of an empty table.

    Raises `UnknownRefError`.
    """
    if ref is None or ref == MAIN:
        return table.current_snapshot()
    found = table.metadata.refs.get(ref)
    snapshot = None if found is None else table.snapshot_by_id(found.snapshot_id)
    if snapshot is None:
        raise UnknownRefError(_unknown(table, ref))
    return snapshot


def _unknown(table: Table, ref: str) -> str:
    known = sorted({MAIN, *table.metadata.refs})
    close = get_close_matches(ref, known, 1)
    if close:
        return f"the table has no branch or tag {ref}; do you mean {close[0]}?"
    shown = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    return f"the table has no branch or tag {ref}; it has {shown}"
