"""Refusals of a server in the words of a command: its options instead of fields of the API."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from offtake.client.problems import ServerError
from offtake.errors import OfftakeError, WrongUsageError

Words = Mapping[str, str]
"""By JSON pointer of a field, the option that sets it."""


@contextmanager
def naming_options(words: Words) -> Iterator[None]:
    """Raise `WrongUsageError` for a refusal of fields that options set, with the options' names."""
    try:
        yield
    except ServerError as error:
        raise in_options(error, words) from None


def in_options(error: ServerError, words: Words) -> OfftakeError:
    """The error with the options' names; unchanged if a field is none of the options'."""
    found = [(_option(path, words), message) for path, message in error.fields]
    if not found or any(option is None for option, _ in found):
        return error
    return WrongUsageError("; ".join(f"{option}: {message}" for option, message in found))


def _option(path: str, words: Words) -> str | None:
    """The option of a field, or of the object that the field is in."""
    while path:
        if path in words:
            return words[path]
        path = path.rpartition("/")[0]
    return None
