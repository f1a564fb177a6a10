"""Opening the Parquet files of tables, and errors for those that cannot be read.

Runs in worker processes: PyIceberg is not imported.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, SNAPSHOT_EXPIRED, DeliveryError
from offtake.lake import outages
from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import open_input

_BUFFER: Final = 1024 * 1024
_UNREADABLE: Final = (OSError, pa.ArrowException, UnicodeDecodeError, LocationError)
"""Errors pyarrow raises for unreadable files; UnicodeDecodeError: column names that are not UTF-8."""
_LONGEST: Final = 200


def open_parquet(location: str, access: FileAccess | None) -> pq.ParquetFile:
    """The Parquet file, open for reading by row groups. Raises the errors that `translating_errors` translates."""
    # INT96 timestamps become nanoseconds by default, which cover 1677 to 2262 only; Iceberg has microseconds.
    return parquet_in(open_input(location, access), coerce_int96_timestamp_unit="us")


def parquet_in(file: pa.NativeFile, *, coerce_int96_timestamp_unit: str | None = None) -> pq.ParquetFile:
    """The Parquet reader of an open file; closing it leaves the file open."""
    # Reading ahead would hold whole row groups in memory. Page checksums are verified where pages have them.
    return pq.ParquetFile(
        file,
        pre_buffer=False,
        buffer_size=_BUFFER,
        coerce_int96_timestamp_unit=coerce_int96_timestamp_unit,
        page_checksum_verification=True,
    )


@contextmanager
def translating_errors(locations: Sequence[str]) -> Iterator[None]:
    """Translates errors of reading the files to `DeliveryError`; it names the first file, and how many others."""
    try:
        yield
    except _UNREADABLE as error:
        others = f" (or one of {len(locations) - 1} read with it)" if len(locations) > 1 else ""
        raise unreadable(f"{locations[0]}{others}", error) from None


def unreadable(file: str, error: Exception) -> DeliveryError:
    """The error for a data file or delete file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return DeliveryError(
            SNAPSHOT_EXPIRED,
            f"The dataset's file {file} does not exist: it was deleted after the run was planned (by snapshot expiry "
            "or because the table was dropped), or the table names a path that this machine does not have.",
            "Run the flow again; it exports from the current snapshot. Keep snapshots longer than a run takes.",
            transient=True,
            window=outages.MISSING_SECONDS,
        )
    if outages.is_transient(error):
        return outages.unreachable(f"The dataset's file {file}", shortened(error))
    if isinstance(error, PermissionError):
        return DeliveryError(
            EXPORT_FAILED,
            f"The dataset's file {file} cannot be read: permission denied.",
            "Give the user that Offtake runs as read permission for the warehouse.",
        )
    if isinstance(error, LocationError):
        return DeliveryError(EXPORT_FAILED, f"The dataset's file {file} cannot be read.", str(error))
    return DeliveryError(
        EXPORT_FAILED,
        f"The dataset's file {file} cannot be read: {_cause(error)}.",
        "The file is damaged, or does not match the table's metadata. Restore it from a backup, or write its rows "
        "again.",
    )


def _cause(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "a column's name is not UTF-8"
    text = str(error)
    if "magic bytes not found" in text or "smaller than the minimum file footer" in text:
        return "it is not a Parquet file, or it is truncated"
    if "encrypted" in text:
        return "it is encrypted"
    return f"{shortened(error)} ({type(error).__name__})"


def shortened(error: object) -> str:
    """The first 200 characters of an error's text, on one line, without a full stop."""
    return " ".join(str(error).split())[:_LONGEST].rstrip(".") or type(error).__name__
