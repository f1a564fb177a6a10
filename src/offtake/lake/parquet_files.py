"""Opening the Parquet files of tables, and what is wrong with those that cannot be read.

Runs in worker processes: PyIceberg is not imported.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, SNAPSHOT_EXPIRED, DeliveryError
from offtake.lake import outages
from offtake.lake.locations import LocationError, file_system

_BUFFER: Final = 1024 * 1024
_UNREADABLE: Final = (OSError, pa.ArrowException, UnicodeDecodeError, LocationError)
"""What pyarrow raises for files that it cannot read; UnicodeDecodeError: names of columns that are not UTF-8."""
_LONGEST: Final = 200


def open_file(location: str) -> pa.NativeFile:
    """The file, open for reading. Raises what `explain` translates."""
    store, path = file_system(location)
    return store.open_input_file(path)


def open_parquet(location: str) -> pq.ParquetFile:
    """The Parquet file, open for reading row group by row group. Raises what `explain` translates."""
    # Parquet's oldest timestamps are of nanoseconds, which reach from 1677 to 2262 only; Iceberg's are of microseconds.
    return parquet_in(open_file(location), coerce_int96_timestamp_unit="us")


def parquet_in(file: pa.NativeFile, *, coerce_int96_timestamp_unit: str | None = None) -> pq.ParquetFile:
    """The Parquet file in an open file, which stays open."""
    # Reading ahead would hold whole row groups in memory. Pages that bear checksums are held against them.
    return pq.ParquetFile(
        file,
        pre_buffer=False,
        buffer_size=_BUFFER,
        coerce_int96_timestamp_unit=coerce_int96_timestamp_unit,
        page_checksum_verification=True,
    )


@contextmanager
def explain(locations: Sequence[str]) -> Iterator[None]:
    """Translate what reading the files raises to `DeliveryError`. Of several files, any may be the one."""
    try:
        yield
    except _UNREADABLE as error:
        others = f" (or one of {len(locations) - 1} read with it)" if len(locations) > 1 else ""
        raise unreadable(f"{locations[0]}{others}", error) from None


def unreadable(file: str, error: Exception) -> DeliveryError:
    """What is wrong with a table's data file or delete file, and what to do."""
    if isinstance(error, FileNotFoundError):
        return DeliveryError(
            SNAPSHOT_EXPIRED,
            f"The dataset's file {file} is not there: it has been removed since the run was planned, "
            "by an expiry of snapshots or by dropping the table, or the table names a place that this machine lacks.",
            "Run the flow again; it plans from the table as it is then. Keep snapshots longer than runs take.",
            transient=True,
            window=outages.MISSING_SECONDS,
        )
    if outages.is_transient(error):
        return outages.unreachable(f"The dataset's file {file}", shortened(error))
    if isinstance(error, PermissionError):
        return DeliveryError(
            EXPORT_FAILED,
            f"The dataset's file {file} cannot be read: permission denied.",
            "Let the user that Offtake runs as read the warehouse.",
        )
    if isinstance(error, LocationError):
        return DeliveryError(EXPORT_FAILED, f"The dataset's file {file} cannot be read.", str(error))
    return DeliveryError(
        EXPORT_FAILED,
        f"The dataset's file {file} cannot be read: {_cause(error)}.",
        "The file is there, but it is damaged or not as the table's metadata say. Bring it back from a copy, or write "
        "its rows again.",
    )


def _cause(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "a column's name is not UTF-8"
    text = str(error)
    if "magic bytes not found" in text or "smaller than the minimum file footer" in text:
        return "it is not a Parquet file, or it is cut off"
    if "encrypted" in text:
        return "it is encrypted"
    return f"{shortened(error)} ({type(error).__name__})"


def shortened(error: object) -> str:
    """The beginning of an error's text, on one line, without a full stop."""
    return " ".join(str(error).split())[:_LONGEST].rstrip(".") or type(error).__name__
