"""Why a batch did not come in: whether trying again can help, and the sentence that users read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from offtake.errors import OfftakeError
from offtake.lake.catalog import LakeFullError
from offtake.lake.parsers import UnfinishedCommitError
from offtake.store.database import StoreBusyError, StoreConflictError, StoreFullError

_MAX_TEXT_LENGTH: Final = 300
_MAY_PASS: Final = (
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
    """A library's error that nobody foresaw, in one line for the terminal; its text may hold values of the files."""


@contextmanager
def translating_errors(what: str) -> Iterator[None]:
    """Raises errors of libraries as `UnexpectedImportError`: `what` failed. Those of the system say what happened."""
    try:
        yield
    except (OfftakeError, OSError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:_MAX_TEXT_LENGTH]
        raise UnexpectedImportError(f"{what}: {type(error).__name__}: {text}") from error


def is_transient(error: BaseException) -> bool:
    """Whether the same work can succeed later: the disk or a database was away, busy or full, others were faster.

    What libraries raise about types and values (`ValueError`, `TypeError`, Arrow's and PyIceberg's own errors) will be
    raised again for the same files.
    """
    return isinstance(error, _MAY_PASS)


def reason(error: BaseException, batch_id: str) -> str:
    """What users read. Errors of libraries may hold values and paths: of them, only the batch's id is named."""
    if isinstance(error, OfftakeError) and not isinstance(error, UnexpectedImportError):
        return str(error)
    return f"The batch could not be brought in; the server's log has the details under batch {batch_id}."
