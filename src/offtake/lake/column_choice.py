"""The columns that an export delivers, as a source connection stores them. PyIceberg is not imported."""

from dataclasses import dataclass
from typing import Final

from offtake.documents import ChosenColumnDocument, ColumnChoiceDocument

MOST_COLUMNS: Final = 1000
LONGEST_PATH: Final = 1000


@dataclass(frozen=True)
class ChosenColumn:
    """A chosen column: its path and field id, and the paths and ids of the values in it, when it was chosen."""

    path: str
    field_id: int
    leaves: tuple[tuple[str, int], ...]

    def to_json(self) -> ChosenColumnDocument:
        """For the source connection."""
        return {"path": self.path, "id": self.field_id, "leaves": dict(self.leaves)}


@dataclass(frozen=True)
class ColumnChoice:
    """The chosen columns of a table. `table`: its UUID, because field ids of another table mean other columns."""

    table: str
    columns: tuple[ChosenColumn, ...]

    @property
    def paths(self) -> list[str]:
        """The paths as they were chosen."""
        return [one.path for one in self.columns]

    def to_json(self) -> ColumnChoiceDocument:
        """For the source connection."""
        return {"table": self.table, "columns": [one.to_json() for one in self.columns]}

    @staticmethod
    def from_json(document: ColumnChoiceDocument) -> "ColumnChoice":
        """The inverse of `to_json`."""
        columns = (ChosenColumn(one["path"], one["id"], tuple(one["leaves"].items())) for one in document["columns"])
        return ColumnChoice(document["table"], tuple(columns))
