"""Why files are refused."""

from offtake.errors import OfftakeError


class ImportRefusedError(OfftakeError):
    """The files cannot be imported; nothing was written. `row` is the line or row of the first fault, from 1."""

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class SchemaMismatchError(Exception):
    """A type or a value that does not fit a column; the message names the column and never the value."""
