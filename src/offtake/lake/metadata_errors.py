"""What is wrong with a table's metadata, in words: which file, which cause, what to do."""

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
from offtake.lake import outages
from offtake.lake.locations import LocationError
from offtake.lake.parquet_files import shortened

_UNREADABLE: Final = (
    OSError,
    ValidationError,
    ResolveError,
    NotImplementedError,
    ValueError,
    KeyError,
    TypeError,
    LocationError,
    # What damaged manifests make the decoders of Avro raise.
    EOFError,
    IndexError,
    OverflowError,
    SystemError,
    RecursionError,
    struct.error,
    zlib.error,
)
_SQLITE_AWAY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN)
_SERVER_AWAY: Final = ("08", "53", "57")
"""Classes of states of PostgreSQL: connections, resources, an operator's doing."""
_TOO_DEEP: Final = ("its columns are nested deeper than can be read", "Nest them less deep.")
_AT_TYPE: Final = re.compile(r"(?:Unsupported field type|Type not recognized): '?([^']+)'?")
_SAME_NAME: Final = re.compile(r"multiple fields for name (.+): \d+ and \d+")


@contextmanager
def explain(table: str) -> Iterator[None]:
    """Translate what reading the table's metadata raises to `DeliveryError`."""
    try:
        yield
    except NoSuchTableError:
        raise DeliveryError(
            DATASET_GONE, f"Table {table} no longer exists.", "Take it out of the flow's source connection."
        ) from None
    except FileNotFoundError as error:
        raise DeliveryError(
            SNAPSHOT_EXPIRED,
            f"A metadata file of {table} is not there: {shortened(error)}. It has been removed, or the catalog names a "
            "place that this machine lacks.",
            "Run the flow again; it exports from the snapshot there is now. If it fails again, bring the file back.",
            transient=True,
            window=outages.MISSING_SECONDS,
        ) from None
    except SQLAlchemyError as error:
        if not _catalog_is_away(error):
            raise
        raise outages.unreachable(f"The catalog's entry of {table}", _cause_of(error)) from None
    except _UNREADABLE as error:
        if outages.is_transient(error):
            raise outages.unreachable(f"The metadata of {table}", shortened(error)) from None
        cause, remedy = _cause(error)
        raise DeliveryError(EXPORT_FAILED, f"The metadata of {table} cannot be read: {cause}.", remedy) from error


def _catalog_is_away(error: SQLAlchemyError) -> bool:
    """Whether the catalog's database gives no answer for now; what it refuses is another thing."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, OperationalError | InternalError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        # The lowest byte is the kind of error.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(_SERVER_AWAY)


def _cause_of(error: SQLAlchemyError) -> str:
    """What the database said, without the query and its parameters."""
    return shortened(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)


def _cause(error: Exception) -> tuple[str, str]:
    """What is wrong, and what to do."""
    if isinstance(error, LocationError):
        return str(error).partition(". ")[0], "Move the table's files to a place that is supported."
    if isinstance(error, OSError):
        return shortened(error), "Check that the warehouse is reachable, and that Offtake's user may read it."
    for one in (error, *error.args):
        if isinstance(one, pydantic.ValidationError):
            return _of_document(one)
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError | EOFError | zlib.error | struct.error | SystemError):
        return f"a file of it is damaged ({shortened(error)})", "Bring the table's metadata files back from a copy."
    return f"{shortened(error)} ({type(error).__name__})", "Check that the table's metadata keep to Iceberg's format."


def _of_document(error: pydantic.ValidationError) -> tuple[str, str]:
    """What is wrong with the metadata's JSON document."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        return f"it is of version {first['ctx']['tag']} of Iceberg's format", "Versions 1 to 3 are read."
    if '"view-version-id"' in str(first["input"]) or "current-version-id" in str(first["input"]):
        return "it is a view, not a table", "Export a table that holds the view's rows."
    if found := _AT_TYPE.search(message):
        return f"it has a column of type {found[1]}, which is not supported", "Change the column's type, or drop it."
    if found := _SAME_NAME.search(message):
        return f"it has two columns whose full name is {found[1]}", "Rename one of them."
    if "recursion limit" in message:
        return _TOO_DEEP
    where = ".".join(map(str, first["loc"]))
    return f"{shortened(message)}{f' at {where}' if where else ''}", "Check that the metadata keep to Iceberg's format."
