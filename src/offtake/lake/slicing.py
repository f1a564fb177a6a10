"""Dividing the files of a plan into parts."""

from collections.abc import Iterable, Iterator

from offtake.lake import parquet_files
from offtake.lake.parquet_files import open_parquet
from offtake.lake.parts import FileSlice
from offtake.lake.scan import DataFile
from offtake.lake.storage.access import FileAccess


def slices(
    files: Iterable[DataFile], most_bytes: int, most_rows: int, access: FileAccess | None = None
) -> list[list[FileSlice]]:
    """Divide the files into parts: small files are combined, large ones split between row groups.

    A part exceeds `most_bytes` or `most_rows` only when a single row group, or a file in ORC or Avro, does.
    Deterministic: the same files in the same order give the same parts. `access`: of a registered table.
    """
    parts: list[list[FileSlice]] = []
    part: list[FileSlice] = []
    size = rows = 0
    for piece in (piece for file in files for piece in _pieces(file, most_bytes, most_rows, access)):
        if part and (size + piece.bytes > most_bytes or rows + piece.rows > most_rows):
            parts.append(part)
            part, size, rows = [], 0, 0
        part.append(piece)
        size += piece.bytes
        rows += piece.rows
    return [*parts, part] if part else parts


def _pieces(file: DataFile, most_bytes: int, most_rows: int, access: FileAccess | None) -> Iterator[FileSlice]:
    if file.format != "PARQUET" or (file.bytes <= most_bytes and file.rows <= most_rows):
        yield _slice(file, 0, None, file.rows, file.bytes)
        return
    with parquet_files.translating_errors([file.path]), open_parquet(file.path, access) as opened:
        groups = [opened.metadata.row_group(index) for index in range(opened.metadata.num_row_groups)]
    parquet_files.check_rows(file.path, sum(group.num_rows for group in groups), file.rows)
    sizes = [sum(group.column(index).total_compressed_size for index in range(group.num_columns)) for group in groups]
    first = rows = size = 0
    for index, group in enumerate(groups):
        if index > first and (size + sizes[index] > most_bytes or rows + group.num_rows > most_rows):
            yield _slice(file, first, index, rows, size)
            first, rows, size = index, 0, 0
        rows += group.num_rows
        size += sizes[index]
    yield _slice(file, first, len(groups), rows, size)


def _slice(file: DataFile, first: int, last: int | None, rows: int, size: int) -> FileSlice:
    return FileSlice(
        file.path, first, last, rows, size, file.delete_files, file.partition, file.schema_id, file.format, file.updated
    )
