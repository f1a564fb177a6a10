"""Input files and their formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from offtake.lake.parsing.errors import ImportRefusedError

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

    path: Path
    kind: Kind
    name: str

    @property
    def is_empty(self) -> bool:
        """Whether the file has no bytes."""
        return not self.path.stat().st_size

    def open(self) -> Any:  # noqa: ANN401 - pyarrow has no stubs
        """A binary stream of the decompressed content. Reading it raises `OSError`, also for damaged gzip."""
        return pa.input_stream(self.path, compression="gzip" if self.name.lower().endswith(".gz") else None)


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
