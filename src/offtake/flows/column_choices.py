"""The columns that a source connection delivers of its datasets, as they are stored (an extension of the contract).

A choice is stored by field ids (`lake.column_choice`): it follows renamed columns. PyIceberg is not imported.
"""

from typing import cast

from offtake.documents import ColumnChoiceDocument
from offtake.lake.column_choice import ColumnChoice
from offtake.store.tables import SourceConnection


def choice_of(source: SourceConnection, dataset_id: str) -> ColumnChoice | None:
    """The columns that are chosen of the dataset; None when all are delivered."""
    document = (source.columns or {}).get(dataset_id)
    return None if document is None else ColumnChoice.from_json(cast("ColumnChoiceDocument", document))


def paths_of(source: SourceConnection) -> dict[str, list[str]]:
    """By dataset id, the chosen columns as they were named when they were chosen."""
    return {one: [column["path"] for column in document["columns"]] for one, document in (source.columns or {}).items()}
