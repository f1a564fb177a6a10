"""References to delete files, as plans store them and workers get them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from offtake.documents import DeleteDocument

RowFormat = Literal["PARQUET", "ORC", "AVRO"]
"""Formats of files with rows, as manifests name them."""


@dataclass(frozen=True)
class PositionDeletes:
    """A file with paths of data files and positions in them."""

    path: str
    format: RowFormat = "PARQUET"


@dataclass(frozen=True)
class DeletionVector:
    """A bitmap in a Puffin file: `size` bytes from `offset` on, with the positions of `rows` rows of `data_file`."""

    path: str
    data_file: str
    offset: int
    size: int
    rows: int


@dataclass(frozen=True)
class EqualityDeletes:
    """A file with keys: rows whose columns `field_ids` have the values of one of its rows are deleted."""

    path: str
    field_ids: tuple[int, ...]
    format: RowFormat = "PARQUET"


DeleteFile = PositionDeletes | DeletionVector | EqualityDeletes


def to_document(file: DeleteFile) -> DeleteDocument:
    """For the stored plan."""
    return {"kind": _KIND_OF[type(file)], **vars(file)}  # type: ignore[typeddict-item]


def from_document(document: DeleteDocument) -> DeleteFile:
    """The inverse of `to_document`."""
    values: dict[str, Any] = {name: value for name, value in document.items() if name != "kind"}
    if "field_ids" in values:
        values["field_ids"] = tuple(values["field_ids"])
    made: DeleteFile = _KINDS[document["kind"]](**values)
    return made


def at_new_location(file: DeleteFile, new_location: Callable[[str], str]) -> DeleteFile:
    """The reference to the file at its new location."""
    moved = replace(file, path=new_location(file.path))
    return replace(moved, data_file=new_location(moved.data_file)) if isinstance(moved, DeletionVector) else moved


def ranges(indexes: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending indexes as ranges `[first, last)`."""
    found: list[tuple[int, int]] = []
    for index in indexes:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


_KINDS: Final[dict[str, Any]] = {"positions": PositionDeletes, "vector": DeletionVector, "equality": EqualityDeletes}
_KIND_OF: Final = {kind: name for name, kind in _KINDS.items()}
