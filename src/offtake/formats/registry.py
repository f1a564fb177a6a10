"""The file formats, by the contract's names (section 13.3)."""

from typing import Final

from offtake.formats import ndjson, parquet
from offtake.formats.declaration import DEFAULT_OPTIONS, FileFormat, Format, WriteOptions

FORMATS: Final[tuple[FileFormat, ...]] = (ndjson.FORMAT, parquet.FORMAT)


def file_format(file_type: str) -> FileFormat:
    """The declaration for a target's `datasetFileType`, in upper case."""
    return next(one for one in FORMATS if one.name == file_type)


def format_for(file_type: str, compression: str, options: WriteOptions = DEFAULT_OPTIONS) -> Format:
    """The format for a target's `datasetFileType` and `compression`, both in upper case."""
    return file_format(file_type).writer(compression, options)
