"""What `offtake copy` is asked to do, and the name of the private folder in which it does it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.lake.parsing.options import ParseOptions


@dataclass(frozen=True)
class Files:
    """How files are read: as typed, and parsed."""

    document: Json
    options: ParseOptions


@dataclass(frozen=True)
class CopyRequest:
    """A copy. `target`: the parameters of the files; `options`: of the destination, secrets as references.

    `wait_seconds`: how long it waits for a source or destination that is unreachable; not part of its identity.
    """

    sources: tuple[str, ...]
    destination: str
    files: Files
    target: Mapping[str, object]
    folder: str | None
    options: Mapping[str, str]
    ssh_key: str | None
    data_dir: Path | None
    sandbox: str | None
    wait_seconds: int

    def identity(self, sources: Sequence[str]) -> str:
        """The name of the copy: another one if anything about it changes. `sources`: what they contain now."""
        said = [sources, self.destination, self.files.document, dict(self.target), self.folder, dict(self.options)]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


def is_file_source(source: str) -> bool:
    """Whether the source is files, not a dataset or a table of a catalog."""
    return not source.startswith(("dataset:", "catalog:"))


def describe_file(source: str) -> str:
    """The file with its size and time. Raises `OfftakeError` when it is not a file."""
    path = Path(source)
    if not path.is_file():
        near = "" if "/" in source or path.suffix else f" A dataset: dataset:{source}."
        raise OfftakeError(f"{source} is not a file.{near}")
    found = path.stat()
    return f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
