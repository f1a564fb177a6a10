"""Errors of imports: whether a retry can help, and the message for users."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from offtake.errors import DeliveryError, OfftakeError
from offtake.lake.catalog import LakeFullError
from offtake.lake.parsers import UnfinishedCommitError
from offtake.store.database import StoreBusyError, StoreConflictError, StoreFullError

_MAX_TEXT_LENGTH: Final = 300
_TRANSIENT: Final = (
    OSError,
    MemoryError,
    OperationalError,
    InterfaceError,
    InternalError,
    IntegrityError,
    NoConnectionError,
    CommitFailedException,
    CommitStateUnknownException,
    LakeFullError,
    UnfinishedCommitError,
    StoreBusyError,
    StoreConflictError,
    StoreFullError,
)


class UnexpectedImportError(OfftakeError):
    """An unexpected error of a library, in one line for the terminal; its text may contain values of the files."""


@contextmanager
def translating_errors(prefix: str) -> Iterator[None]:
    """Raise library errors as `UnexpectedImportError` with the prefix `prefix`; `OSError` and Offtake's own pass."""
    try:
        yield
    except (OfftakeError, OSError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:_MAX_TEXT_LENGTH]
        raise UnexpectedImportError(f"{prefix}: {type(error).__name__}: {text}") from error


def is_transient(error: BaseException) -> bool:
    """Whether a retry can succeed: the disk or a database was unavailable, busy or full, or a commit conflicted.

    Library errors about types and values (`ValueError`, `TypeError`, Arrow's and PyIceberg's own) are permanent: they
    would be raised again for the same files.
    """
    return isinstance(error, _TRANSIENT) or (isinstance(error, DeliveryError) and error.transient)


def reason(error: BaseException, batch_id: str) -> str:
    """The message for users. Library errors may contain values and paths, so they are replaced by the batch's id."""
    if isinstance(error, OfftakeError) and not isinstance(error, UnexpectedImportError):
        return str(error)
    return f"The batch could not be imported; the server's log has the details under batch {batch_id}."
