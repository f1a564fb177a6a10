"""Errors for unreadable table metadata: which file, the cause, and what to do."""

import re
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pydantic
from pyiceberg.exceptions import NoSuchTableError, ResolveError, ValidationError
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from offtake.errors import DATASET_GONE, EXPORT_FAILED, SNAPSHOT_EXPIRED, DeliveryError
from offtake.invalid_values import message_of
from offtake.lake import outages
from offtake.lake.locations import LocationError
from offtake.lake.parquet_files import shortened

UNREADABLE: Final = (
    OSError,
    ValidationError,
    ResolveError,
    NotImplementedError,
    ValueError,
    KeyError,
    TypeError,
    LocationError,
    # Avro decoders raise these for damaged manifests.
    EOFError,
    IndexError,
    ArithmeticError,
    SystemError,
    RecursionError,
    # Validators of PyIceberg raise these for values of another type than they expect.
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
)
"""What PyIceberg raises for damaged or unsupported metadata."""
_SQLITE_UNAVAILABLE: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN)
_POSTGRESQL_UNAVAILABLE: Final = ("08", "53", "57")
"""Classes of SQLSTATE: connection exception, insufficient resources, operator intervention."""
_TOO_DEEP: Final = ("its columns are nested too deeply", "Reduce the nesting of the columns.")
_UNSUPPORTED_TYPE: Final = re.compile(r"(?:Unsupported field type|Type not recognized): '?([^']+)'?")
_UNSUPPORTED_DEFAULT: Final = re.compile(r"Cannot deserialize bytes, type (.+) not supported: ", re.DOTALL)
_SAME_NAME: Final = re.compile(r"multiple fields for name (.+): \d+ and \d+")


@contextmanager
def translating_errors(table: str) -> Iterator[None]:
    """Translates errors of reading the table's metadata to `DeliveryError`."""
    try:
        yield
    except NoSuchTableError:
        raise DeliveryError(
            DATASET_GONE, f"Table {table} no longer exists.", "Remove it from the flow's source connection."
        ) from None
    except FileNotFoundError as error:
        raise DeliveryError(
            SNAPSHOT_EXPIRED,
            f"A metadata file of {table} does not exist: {shortened(error)}. It was deleted, or the catalog names a "
            "path that this machine does not have.",
            "Run the flow again; it exports from the current snapshot. If it fails again, restore the file.",
            transient=True,
            window=outages.MISSING_SECONDS,
        ) from None
    except SQLAlchemyError as error:
        if not _is_unavailable(error):
            raise
        raise outages.unreachable(f"The catalog's entry of {table}", _database_message(error)) from None
    except UNREADABLE as error:
        if outages.is_transient(error):
            raise outages.unreachable(f"The metadata of {table}", shortened(error)) from None
        raise unreadable(table, error) from error


def unreadable(table: str, error: Exception) -> DeliveryError:
    """The error for metadata that is damaged or not supported; it names the cause."""
    cause, remedy = _cause(error)
    return DeliveryError(EXPORT_FAILED, f"The metadata of {table} cannot be read: {cause}.", remedy)


def _is_unavailable(error: SQLAlchemyError) -> bool:
    """Whether the catalog's database is temporarily unavailable, and did not refuse the query."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, OperationalError | InternalError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        # The lowest byte is the primary result code.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_UNAVAILABLE
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(_POSTGRESQL_UNAVAILABLE)


def _database_message(error: SQLAlchemyError) -> str:
    """The database's message, without the query and its parameters."""
    return shortened(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)


def _cause(error: Exception) -> tuple[str, str]:
    """The cause, and what to do."""
    if isinstance(error, LocationError):
        return str(error).partition(". ")[0], "Move the table's files to a supported location."
    if isinstance(error, OSError):
        return shortened(error), "Check that the warehouse is reachable and that Offtake's user can read it."
    for one in (error, *error.args):
        if isinstance(one, pydantic.ValidationError):
            return _of_document(one)
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError | EOFError | zlib.error | struct.error | SystemError):
        return f"a metadata file is damaged ({shortened(error)})", "Restore the table's metadata files from a backup."
    cause, remedy = f"{shortened(error)} ({type(error).__name__})", "Check that the metadata follows Iceberg's format."
    if isinstance(error, TypeError) and (found := _UNSUPPORTED_DEFAULT.match(str(error))):
        cause = f"a column has a default value of the type {found[1][:200]}, which is not supported"
        remedy = "Drop the column, or add one without a default value."
    return cause, remedy


def _of_document(error: pydantic.ValidationError) -> tuple[str, str]:
    """The cause and the remedy for an invalid metadata JSON document."""
    first = error.errors(include_url=False)[0]
    message = message_of(first)
    if first["type"] == "union_tag_invalid":
        return f"it has version {first['ctx']['tag']} of Iceberg's format", "Use version 1, 2 or 3 of the format."
    if '"view-version-id"' in str(first["input"]) or "current-version-id" in str(first["input"]):
        return "it is a view, not a table", "Export a table with the view's rows."
    if found := _UNSUPPORTED_TYPE.search(message):
        return f"it has a column of the unsupported type {found[1]}", "Change the column's type, or drop the column."
    if found := _SAME_NAME.search(message):
        return f"it has two columns whose full name is {found[1]}", "Rename one of them."
    if "recursion limit" in message:
        return _TOO_DEEP
    path = ".".join(map(str, first["loc"]))
    return f"{shortened(message)}{f' at {path}' if path else ''}", "Check that the metadata follows Iceberg's format."
