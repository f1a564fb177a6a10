"""Source connections: the datasets to export (contract, sections 6.3 and 13.1)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.catalog import datasets, lake_catalog_calls
from offtake.contract import bodies, entities, json_patch_rules, problems
from offtake.contract.bodies import Body, NewEntity, Sent, SpecRef
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.contract.json_patch_rules import Patch, Patchable, Rules
from offtake.contract.problems import Problem
from offtake.destinations.parameters import EXTENSION
from offtake.documents import ColumnChoiceDocument, Json
from offtake.errors import DeliveryError, FieldProblem, InvalidInputError
from offtake.flows import chosen_columns, column_choices, connections, references, specs
from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import LONGEST_PATH, MOST_COLUMNS
from offtake.lake.table_names import TableName
from offtake.lake.table_refs import MAIN, UnknownRefError, ref_snapshot
from offtake.store.database import Database
from offtake.store.tables import Connection, Dataset, SourceConnection

_LAKE_CONNECTION = "Data Lake"


KIND: Final = "sourceConnections"
_RULES: Final = Rules(
    {"/name": Patchable(), "/description": Patchable(("add", "replace", "remove"))},
    {
        "/params": Problem(
            problems.NOT_UPDATABLE,
            "The datasets and columns of a source connection cannot be changed. Create a source connection, and patch "
            "the flow's /sourceConnectionIds with its id.",
        ),
        "/connectionSpec": Problem(problems.OTHER_SPEC, "The connectionSpec of a connection cannot be changed."),
    },
)


class DatasetRef(Body):
    """One dataset to export; the name is informational and optional.

    `ref` (an extension): the branch or tag of the table that is exported, by default its main branch.
    """

    data_set_id: str
    name: str | None = None
    ref: str | None = Field(default=None, min_length=1, max_length=200, json_schema_extra=EXTENSION)


Path = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]
Columns = Annotated[list[Path], Field(min_length=1, max_length=MOST_COLUMNS)]


class SourceParams(Body):
    """The selection of a source connection.

    `columns` (an extension): by dataset id, the paths of the columns that are exported, by default all.
    """

    datasets: list[DatasetRef] = Field(min_length=1)
    columns: dict[str, Columns] | None = Field(default=None, json_schema_extra=EXTENSION)


class NewSourceConnection(NewEntity):
    """`POST /sourceConnections`."""

    connection_spec: SpecRef
    params: SourceParams
    data: dict[str, Any] | None = None


def create(
    session: Session,
    caller: Caller,
    body: Sent,
    now_ms: int,
    columns: Mapping[str, ColumnChoiceDocument] | None = None,
) -> SourceConnection:
    """Store a source connection; its datasets must exist in the caller's sandbox.

    `columns`: the chosen columns by dataset id, as `choose_columns` returns them for the body.
    """
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    caller.require(VIEW_DESTINATIONS)
    new = bodies.parse_body(NewSourceConnection, body)
    connections.check_version(new.connection_spec)
    if new.connection_spec.id != specs.DATA_LAKE:
        raise Problem(problems.UNKNOWN_SPEC, f"connectionSpec.id must be {specs.DATA_LAKE}, the data lake.")
    dataset_ids = [dataset.data_set_id for dataset in new.params.datasets]
    _check_datasets(session, caller, dataset_ids)
    for one in (new.params.columns or {}).keys() - (columns or {}).keys():
        raise problems.of_field(f"/params/columns/{one}", "was not looked up in the table; retry the request")
    row = SourceConnection(
        **entities.creation_columns(caller, now_ms),
        name=new.name,
        description=new.description,
        state=entities.ENABLED,
        connection_spec_id=specs.DATA_LAKE,
        base_connection_id=_lake_connection(session, caller, now_ms).id,
        dataset_ids=dataset_ids,
        refs=refs_of(new) or None,
        columns=dict(columns or {}) or None,
        data=new.data,
    )
    session.add(row)
    audit.record(session, caller, now_ms, "create", (KIND, row.id), name=row.name, after=render(session, row, caller))
    return row


def check_refs(database: Database, lake: Lake, caller: Caller, body: Sent) -> None:
    """Raise `Problem` for branches and tags that the tables of the body's datasets do not have. Reads these tables.

    Raises 3503 and 3504 as `lake_catalog_calls.read` does. What else is wrong with the body is left to `create`.
    """
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    try:
        new = bodies.parse_body(NewSourceConnection, body)
    except Problem:
        return
    refs = refs_of(new)
    with database.reading() as session:
        named = session.scalars(select(Dataset).where(*datasets.visible_to(caller), Dataset.id.in_(refs)))
        known = {row.id: row for row in named}
    found = []
    for index, dataset in enumerate(new.params.datasets):
        row = known.get(dataset.data_set_id)
        if dataset.ref is None or row is None:
            continue
        why = _why_unknown(lake, caller, row, dataset.ref)
        found += [FieldProblem(f"/params/datasets/{index}/ref", why)] if why else []
    if found:
        raise problems.of_fields(InvalidInputError(found))


def choose_columns(database: Database, lake: Lake, caller: Caller, body: Sent) -> dict[str, ColumnChoiceDocument]:
    """The columns that the body chooses, by dataset id, for `create`. Reads the datasets' tables.

    Raises `Problem` for columns that these do not have, and 3503 and 3504 as `lake_catalog_calls.read` does. What else
    is wrong with the body is left to `create`.
    """
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    try:
        new = bodies.parse_body(NewSourceConnection, body)
    except Problem:
        return {}
    refs: dict[str, str | None] = {one.data_set_id: one.ref for one in new.params.datasets}
    return chosen_columns.resolve(database, lake, caller, refs, new.params.columns or {})


def _why_unknown(lake: Lake, caller: Caller, row: Dataset, ref: str) -> str | None:
    name = TableName(row.table_name)
    try:
        table = lake_catalog_calls.read(caller, [name], lambda: scan.find_table(lake, name))
        if table is None:
            return f"dataset {row.id} has no rows yet, and so no branches and tags"
        ref_snapshot(table.table, ref)
    except (UnknownRefError, DeliveryError) as error:
        return str(error)
    return None


def refs_of(new: NewSourceConnection) -> dict[str, str]:
    """By dataset id, the branches and tags other than main."""
    return {one.data_set_id: one.ref for one in new.params.datasets if one.ref is not None and one.ref != MAIN}


def update(
    session: Session, caller: Caller, row_id: str, body: Patch, if_match: str | None, now_ms: int
) -> SourceConnection:
    """Apply a patch to a source connection: name and description only."""
    caller.require(EXPORT_DATASETS)
    row = entities.find(session, caller, SourceConnection, KIND, row_id, lock=True)
    entities.check_version(row, if_match)
    before = render(session, row, caller)
    document = {"name": row.name, "description": row.description}
    after = bodies.parse_document(NewEntity, json_patch_rules.apply(document, json_patch_rules.parse(body), _RULES))
    row.name, row.description = after.name, after.description
    entities.set_updated(row, caller, now_ms)
    shown = render(session, row, caller)
    audit.record(session, caller, now_ms, "update", (KIND, row.id), name=row.name, before=before, after=shown)
    return row


def delete(session: Session, caller: Caller, row_id: str, now_ms: int) -> None:
    """Delete a source connection; raises 1447 while flows use it."""
    caller.require(EXPORT_DATASETS)
    row = entities.find(session, caller, SourceConnection, KIND, row_id, lock=True)
    references.check_source_unused(session, row)
    before = render(session, row, caller)
    audit.record(session, caller, now_ms, "delete", (KIND, row.id), name=row.name, before=before)
    session.delete(row)


def render(session: Session, row: SourceConnection, caller: Caller) -> Json:
    """Render the source connection for the API, with the datasets' current names."""
    return render_all(session, [row], caller)[0]


def render_all(session: Session, rows: Sequence[SourceConnection], caller: Caller) -> list[Json]:
    """Render the source connections for the API, with one query per kind of referenced entity."""
    bases = entities.by_id(session, Connection, [row.base_connection_id for row in rows])
    named = entities.by_id(session, Dataset, [one for row in rows for one in row.dataset_ids])
    return [_render(row, caller, bases[row.base_connection_id], named) for row in rows]


def _render(row: SourceConnection, caller: Caller, base: Connection, datasets: Mapping[str, Dataset]) -> Json:
    named = [_render_dataset(one, datasets.get(one), (row.refs or {}).get(one)) for one in row.dataset_ids]
    return (
        entities.entity_fields(row, caller)
        | {
            "baseConnectionId": base.id,
            "connectionSpec": entities.spec_ref(row.connection_spec_id),
            "params": {"datasets": named} | ({"columns": column_choices.paths_of(row)} if row.columns else {}),
            "inheritedAttributes": {"baseConnection": connections.reference(base)},
        }
        | ({"data": row.data} if row.data else {})
    )


def _render_dataset(dataset_id: str, dataset: Dataset | None, ref: str | None) -> Json:
    named = {} if dataset is None else {"name": dataset.name}
    return {"dataSetId": dataset_id} | named | ({} if ref is None else {"ref": ref})


def _check_datasets(session: Session, caller: Caller, dataset_ids: list[str]) -> None:
    known = set(session.scalars(select(Dataset.id).where(*datasets.visible_to(caller), Dataset.id.in_(dataset_ids))))
    found = []
    for index, dataset_id in enumerate(dataset_ids):
        path = f"/params/datasets/{index}/dataSetId"
        if dataset_id not in known:
            found.append(FieldProblem(path, f"dataset {dataset_id} does not exist in sandbox {caller.sandbox_name}"))
        elif dataset_id in dataset_ids[:index]:
            found.append(FieldProblem(path, f"dataset {dataset_id} occurs twice"))
    if found:
        raise problems.of_fields(InvalidInputError(found))


def _lake_connection(session: Session, caller: Caller, now_ms: int) -> Connection:
    """The sandbox's internal base connection to its data lake, created on demand."""
    same = (Connection.sandbox_id == caller.sandbox_id, Connection.connection_spec_id == specs.DATA_LAKE)
    row = session.scalar(select(Connection).where(*same))
    if row is None:
        row = Connection(
            **entities.creation_columns(caller, now_ms),
            name=_LAKE_CONNECTION,
            state=entities.ENABLED,
            connection_spec_id=specs.DATA_LAKE,
        )
        session.add(row)
        session.flush()
    return row
