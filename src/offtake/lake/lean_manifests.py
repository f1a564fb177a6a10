"""Reading the entries of data manifests without the columns' statistics, which no plan needs.

A table with 10,000 files of 200 columns has ten million of them: a gigabyte of Python objects.
"""

from typing import Any, Final

from pyiceberg.avro.decoder import BinaryDecoder
from pyiceberg.avro.file import AvroFile
from pyiceberg.avro.reader import Reader, StructReader
from pyiceberg.manifest import ManifestEntry
from pyiceberg.types import StructType

_DATA_FILE: Final = 2
_VALUE_COUNTS: Final = 109
_STATISTICS: Final = frozenset((108, 110, 125, 128, 132, 137))
"""Field ids: column sizes, null counts, lower and upper bounds, offsets of row groups, NaN counts."""


class LeanFile(AvroFile[ManifestEntry]):
    """A manifest whose entries are read without statistics; with the columns' value counts if `counts` is set."""

    counts = False

    def __enter__(self) -> "LeanFile":
        """Build the readers of the entries."""
        super().__enter__()
        skipped = _STATISTICS if self.counts else _STATISTICS | {_VALUE_COUNTS}
        if isinstance(self.reader, StructReader) and self.read_schema is not None:
            self.reader = _without(self.reader, self.read_schema.as_struct(), skipped)
        return self


class _Discarding(Reader):
    """Decodes a value and drops it: PyIceberg decodes maps in C, but skips them in Python."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, decoder: BinaryDecoder) -> Any:  # noqa: ANN401 - PyIceberg's signature
        return self._reader.read(decoder)

    def skip(self, decoder: BinaryDecoder) -> None:
        self._reader.read(decoder)


def _without(reader: StructReader, of: StructType, skipped: frozenset[int]) -> StructReader:
    """The reader without those fields, which are None in the records. `of`: the fields by their indexes in records."""
    fields: list[tuple[int | None, Reader]] = []
    for index, field in reader.field_readers:
        found = None if index is None else of.fields[index]
        if found is not None and found.field_id in skipped:
            fields.append((None, _Discarding(field)))
        elif found is not None and found.field_id == _DATA_FILE and isinstance(field, StructReader):
            assert isinstance(found.field_type, StructType)  # noqa: S101 - for mypy
            fields.append((index, _without(field, found.field_type, skipped)))
        else:
            fields.append((index, field))
    lean = StructReader(tuple(fields), reader.create_struct, reader.struct)
    lean._max_pos = reader._max_pos  # noqa: SLF001 - records keep their length when their last fields are skipped
    return lean
