"""Input files and their formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.storage.object_parts import ObjectParts, PartsFile

Content: TypeAlias = Path | ObjectParts
"""A file of this machine, or in an object store."""

Kind = Literal["parquet", "ndjson", "json", "csv"]
"""`ndjson`: one object per line; `json`: one document."""

_ENDINGS: dict[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".json": "ndjson",
    ".jsonl": "ndjson",
    ".ndjson": "ndjson",
    ".csv": "csv",
    ".tsv": "csv",
}
ALLOWED = ".parquet, .pq, .json, .jsonl, .ndjson, .csv or .tsv; all but Parquet also with .gz"


@dataclass(frozen=True)
class InputFile:
    """A file, its format, and its name for users. Files named `*.gz` are decompressed while they are read."""

    path: Content
    kind: Kind
    name: str

    @property
    def is_empty(self) -> bool:
        """Whether the file has no bytes."""
        return not self.path.stat().st_size

    def open(self) -> Any:  # noqa: ANN401 - pyarrow has no stubs
        """A binary stream of the decompressed content. Reading it raises `OSError`, also for damaged gzip."""
        compression = "gzip" if self.name.lower().endswith(".gz") else None
        return pa.input_stream(self.path if isinstance(self.path, Path) else self.path.open(), compression=compression)

    def open_parquet(self) -> pq.ParquetFile:
        """The file as Parquet; timestamps of type INT96 have microseconds. Raises pyarrow's errors."""
        source = self.path if isinstance(self.path, Path) else pa.PythonFile(PartsFile(self.path), mode="r")
        return pq.ParquetFile(source, pre_buffer=False, coerce_int96_timestamp_unit="us")


def input_file(path: Path) -> InputFile:
    """The file at a path, with the format from its name. Raises `ImportRefusedError` if missing or unsupported."""
    if not path.is_file():
        raise ImportRefusedError(f"{path} is not a file.")
    kind = kind_of(path.name)
    if kind is not None:
        return InputFile(path, kind, path.name)
    raise ImportRefusedError(f"{path.name} has an unknown format; its name must end in {ALLOWED}.")


def kind_of(name: str) -> Kind | None:
    """The format of a file with that name; None for an unknown one. A `.json` file has one object per line."""
    lower = name.lower()
    for ending, kind in _ENDINGS.items():
        if lower.endswith(ending) or (kind != "parquet" and lower.endswith(f"{ending}.gz")):
            return kind
    return None
