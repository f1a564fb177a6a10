"""Errors for files that cannot be imported."""

from typing import Final

from offtake.errors import OfftakeError

_LONGEST_VALUE: Final = 60


class ImportRefusedError(OfftakeError):
    """The files cannot be imported; nothing was written. `row`: the line or row of the first fault, from 1."""

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class EncodingError(ImportRefusedError):
    """A text file has bytes that are not valid in its encoding."""


class SchemaMismatchError(Exception):
    """A type or value that a column cannot hold. The message names the column, and never contains the value.

    `hint`: the value and how to write it, for users; empty if several values were read at once.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


def shorten(value: object) -> str:
    """A value of a file in quotes, of limited length and in one line, for messages."""
    text = " ".join(str(value).split())
    return f'"{text}"' if len(text) <= _LONGEST_VALUE else f'"{text[:_LONGEST_VALUE]}…"'
