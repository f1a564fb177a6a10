"""Opening the Parquet files of tables, and errors for those that cannot be read.

Runs in worker processes: PyIceberg is not imported.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, SNAPSHOT_EXPIRED, DeliveryError
from offtake.lake import outages
from offtake.lake.locations import LocationError
from offtake.lake.storage import files
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import StoreInput, open_input
from offtake.lake.storage.read_ahead import ReadAhead, Step

_BUFFER: Final = 1024 * 1024
_BUFFER_AHEAD: Final = 256 * 1024
"""The buffer of each column where reading ahead has one already."""
_UNREADABLE: Final = (OSError, pa.ArrowException, UnicodeDecodeError, LocationError)
"""Errors pyarrow raises for unreadable files; UnicodeDecodeError: column names that are not UTF-8."""
_LONGEST: Final = 200


class OpenParquet(pq.ParquetFile):  # type: ignore[misc] # pyarrow has no types
    """A Parquet file, open for reading by row groups. `source`: the file that it reads."""

    def __init__(self, source: pa.NativeFile, *, coerce_int96_timestamp_unit: str | None = None) -> None:
        """Raises the errors that `translating_errors` translates."""
        self.source = source
        # Arrow's own reading ahead would hold all row groups in memory. Page checksums are verified where pages have
        # them.
        super().__init__(
            source,
            pre_buffer=False,
            buffer_size=_BUFFER_AHEAD if isinstance(source, StoreInput) else _BUFFER,
            coerce_int96_timestamp_unit=coerce_int96_timestamp_unit,
            page_checksum_verification=True,
        )

    def read_ahead(self, groups: Iterable[int], columns: Sequence[str] | None = None) -> None:
        """Let these row groups be fetched before they are read, in order; a no-op for local files.

        `columns`: the paths of leaf columns, or the first parts of paths; None means all.
        """
        wanted = None if columns is None else self._leaves(columns)
        known = (group for group in groups if group < self.metadata.num_row_groups)
        files.read_ahead(self.source, (self._ranges(group, wanted) for group in known))

    def keep_indexes(self) -> None:
        """Fetch the page indexes, which are between the row groups and the footer, at once; a no-op for local files."""
        last = self.metadata.num_row_groups - 1
        if last >= 0 and self.metadata.num_columns and self.metadata.row_group(last).column(0).has_offset_index:
            files.keep_end(self.source, max(end for _, end in self._ranges(last, None)))

    def _leaves(self, columns: Sequence[str]) -> list[int]:
        starts = tuple(f"{one}." for one in columns)
        paths = (self.schema.column(index).path for index in range(len(self.schema)))
        return [index for index, path in enumerate(paths) if f"{path}.".startswith(starts)]

    def _ranges(self, group: int, wanted: Sequence[int] | None) -> Step:
        metadata = self.metadata.row_group(group)
        found = []
        for index in range(metadata.num_columns) if wanted is None else wanted:
            column = metadata.column(index)
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                start = min(start, column.dictionary_page_offset)
            found.append((start, start + column.total_compressed_size))
        return found


@contextmanager
def open_parquet(
    location: str, access: FileAccess | None, size: int | None = None, ahead: ReadAhead | None = None
) -> Iterator[OpenParquet]:
    """Context manager: the Parquet file. Raises the errors that `translating_errors` translates; see `open_input`."""
    # INT96 timestamps become nanoseconds by default, which cover 1677 to 2262 only; Iceberg has microseconds.
    with open_input(location, access, size, ahead) as source:
        yield OpenParquet(source, coerce_int96_timestamp_unit="us")


@contextmanager
def translating_errors(locations: Sequence[str]) -> Iterator[None]:
    """Translates errors of reading the files to `DeliveryError`; it names the first file, and how many others."""
    try:
        yield
    except _UNREADABLE as error:
        others = f" (or one of {len(locations) - 1} read with it)" if len(locations) > 1 else ""
        raise unreadable(f"{locations[0]}{others}", error) from None


def check_rows(file: str, found: int, counted: int) -> None:
    """Raise `DeliveryError` when a file, or a slice of it, has not the rows that the metadata counts.

    Fewer: some are lost. More: it is another file, and positions of deleted rows may be of other rows.
    """
    if found != counted:
        raise DeliveryError(
            EXPORT_FAILED,
            f"The dataset's file {file} has {found:,} rows, but the table's metadata counts {counted:,}.",
            "The file was replaced, or the metadata is damaged. Restore the file, or write its rows again.",
        )


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
