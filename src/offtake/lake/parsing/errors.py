"""Errors for files that cannot be imported."""

from offtake.errors import OfftakeError


class ImportRefusedError(OfftakeError):
    """The files cannot be imported; nothing was written. `row`: the line or row of the first fault, from 1."""

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class SchemaMismatchError(Exception):
    """A type or value that a column cannot hold. The message names the column, and never contains the value."""
