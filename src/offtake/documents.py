"""The types of JSON documents: `Json` at the edges, and the documents of packages that do not import each other."""

from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

Json = dict[str, Any]
"""A JSON object."""


class InfoItem(TypedDict):
    """An error or a warning of a run: the contract's info item (section 17.2).

    `code`: such as `EXPORT-2001-403`. `message`: what happened, and what to do about it. `type`: the kind of item.
    `dataSetId`: the dataset that it is about; absent when it is about the whole run.
    """

    code: str
    message: str
    type: Literal["Error", "Warning"]
    dataSetId: NotRequired[str]


Retries = dict[str, list[int]]
"""The failures of a run, by the step that failed: how often, and the time of the first in epoch milliseconds."""


class DeleteDocument(TypedDict):
    """A delete file, as a plan stores it (`lake.delete_files`).

    `format`: of position and equality deletes. `field_ids`: the key columns of equality deletes. `data_file`, `offset`,
    `size`, `rows`: of a deletion vector.
    """

    kind: Literal["positions", "vector", "equality"]
    path: str
    format: NotRequired[str]
    field_ids: NotRequired[Sequence[int]]
    data_file: NotRequired[str]
    offset: NotRequired[int]
    size: NotRequired[int]
    rows: NotRequired[int]


class SliceDocument(TypedDict):
    """A slice of a data file, as a plan stores it (`lake.parts.FileSlice`). The pairs are JSON arrays.

    `path`: the file's location. `groups`: its first row group, and the one after its last; None for all that follow.
    `rows`, `bytes`: the slice's size. `deletes`: its delete files, as ranges `[first, last)` of `deleteFiles`, which
    the first slice of the part has for all of them; in plans of earlier versions, the locations of position deletes.
    `partition`: field id and value of each partition field; absent without partition values. `schemaId`: the schema
    that the file was written with; absent when it is unknown. `format`: absent for Parquet. `updated`: of an
    increment by row lineage, the sequence number of rows without one, and the last one before the range.
    """

    path: str
    groups: tuple[int, int | None]
    rows: int
    bytes: int
    deletes: Sequence[str | tuple[int, int]]
    deleteFiles: NotRequired[list[DeleteDocument]]
    partition: NotRequired[list[tuple[int, str | None]]]
    schemaId: NotRequired[int]
    format: NotRequired[Literal["ORC", "AVRO"]]
    updated: NotRequired[tuple[int, int]]


class TableSchemaDocument(TypedDict):
    """The schema of the delivered rows, as a plan stores it (`lake.parts.TableSchema`).

    `arrow`: Arrow's serialised form, in Base64. `iceberg`: Iceberg's JSON. `nameMapping`: the table's name mapping, in
    Iceberg's JSON. `olderNames`: by schema id, the name mappings for older files; absent in plans of the first version.
    `former`: Iceberg's JSON of schemas that have the columns that were dropped since; absent without dropped columns.
    `columns`: the ids of the chosen columns by path; absent when all are delivered. `whole`: all columns of the table,
    in Arrow's form, when some are chosen: `arrow` has only these.
    """

    arrow: str
    iceberg: str
    nameMapping: str | None
    olderNames: NotRequired[dict[str, str]]
    former: NotRequired[list[str]]
    columns: NotRequired[dict[str, int]]
    whole: NotRequired[str]


class ChosenColumnDocument(TypedDict):
    """A chosen column, as a source connection stores it (`lake.column_choice.ChosenColumn`).

    `path`: when it was chosen. `id`: its field id. `leaves`: the ids of the values in it, by their paths.
    """

    path: str
    id: int
    leaves: dict[str, int]


class ColumnChoiceDocument(TypedDict):
    """The chosen columns of a dataset, as a source connection stores them. `table`: the UUID of the Iceberg table."""

    table: str
    columns: list[ChosenColumnDocument]
