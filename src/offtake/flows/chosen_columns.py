"""Looks up the columns that a source connection delivers of its datasets (an extension of the contract)."""

from collections.abc import Mapping, Sequence
from typing import Final

from pyiceberg.schema import Schema
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.catalog import datasets, lake_catalog_calls
from offtake.contract import bodies, entities, json_patch_rules, problems
from offtake.contract.bodies import Sent
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.json_patch_rules import Patch
from offtake.contract.problems import Problem
from offtake.documents import ColumnChoiceDocument
from offtake.errors import DeliveryError, FieldProblem, InvalidInputError
from offtake.flows.column_choices import choice_of
from offtake.flows.flows import NewFlow
from offtake.lake import column_lookup, file_metadata, scan
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import MOST_COLUMNS, ColumnChoice
from offtake.lake.column_lookup import UnfitChoiceError, UnknownColumnsError
from offtake.lake.scan import TableScan
from offtake.lake.table_names import TableName
from offtake.lake.table_refs import UnknownRefError, ref_snapshot
from offtake.store.database import Database
from offtake.store.tables import Dataset, SourceConnection

_SHOWN: Final = 20


def resolve(
    database: Database,
    lake: Lake,
    caller: Caller,
    refs: Mapping[str, str | None],
    chosen: Mapping[str, Sequence[str]],
) -> dict[str, ColumnChoiceDocument]:
    """The choices for a source connection of the datasets in `refs`, each with its branch or tag. Reads their tables.

    Raises `Problem` for columns that the tables do not have, with the nearest that they have, and 3503 and 3504 as
    `lake_catalog_calls.read` does. Datasets that the caller may not see are left out.
    """
    found: dict[str, ColumnChoiceDocument] = {}
    wrong: list[FieldProblem] = []
    with database.reading() as session:
        rows = select(Dataset).where(*datasets.visible_to(caller), Dataset.id.in_(refs))
        known = {row.id: row for row in session.scalars(rows)}
    for dataset_id, paths in chosen.items():
        field = f"/params/columns/{dataset_id}"
        if dataset_id not in refs:
            among = ", ".join(list(refs)[:_SHOWN]) + (" and others" if len(refs) > _SHOWN else "")
            wrong.append(
                FieldProblem(field, f"dataset {dataset_id[:100]} is not in params.datasets, which has {among}")
            )
        elif len(paths) > MOST_COLUMNS:
            wrong.append(FieldProblem(field, f"has {len(paths):,} columns; at most {MOST_COLUMNS:,} can be chosen"))
        elif dataset_id in known:
            try:
                found[dataset_id] = _choose(lake, caller, known[dataset_id], refs[dataset_id], paths).to_json()
            except UnknownColumnsError as error:
                wrong += [FieldProblem(f"{field}/{index}", text) for index, text in error.problems.items()]
            except (_NoColumnsError, UnknownRefError, DeliveryError) as error:
                wrong.append(FieldProblem(field, str(error)))
    if wrong:
        raise problems.of_fields(InvalidInputError(wrong))
    return found


def delivered_by(
    session: Session, caller: Caller, source_id: str, dataset_id: str
) -> tuple[str | None, ColumnChoice | None]:
    """The branch or tag, and the columns, that a source connection delivers of a dataset; raises `Problem`."""
    caller.require(VIEW_DESTINATIONS)
    source = entities.find(session, caller, SourceConnection, "sourceConnections", source_id)
    if dataset_id not in source.dataset_ids:
        raise problems.of_field("/sourceConnectionId", f"is of a source connection without dataset {dataset_id}")
    return (source.refs or {}).get(dataset_id), choice_of(source, dataset_id)


def check_new_flow(database: Database, lake: Lake, caller: Caller, body: Sent) -> None:
    """Raise `Problem` when a new flow's source connection has chosen columns that its tables do not have any more.

    What else is wrong with the body is left to `flows.create`.
    """
    try:
        new = bodies.parse_body(NewFlow, body)
    except Problem:
        return
    _check_sources(database, lake, caller, new.source_connection_ids)


def check_changed_flow(database: Database, lake: Lake, caller: Caller, body: Patch) -> None:
    """`check_new_flow` for a patch that lets a flow use another source connection."""
    try:
        operations = json_patch_rules.parse(body)
    except Problem:
        return
    for one in operations:
        if one.path == "/sourceConnectionIds":
            _check_sources(database, lake, caller, one.value)


class _NoColumnsError(Exception):
    """The dataset has no columns to choose from; the text says why."""


def _choose(lake: Lake, caller: Caller, row: Dataset, ref: str | None, paths: Sequence[str]) -> ColumnChoice:
    table = _find_table(lake, caller, row)
    if table is None:
        raise _NoColumnsError(f"dataset {row.id} has no rows yet, and so no columns to choose from")
    return column_lookup.choose(table.table, _schema(table, ref), paths)


def _schema(table: TableScan, ref: str | None) -> Schema:
    """The columns to choose from: of the branch's or tag's snapshot, by default the table's current ones."""
    if ref is None:
        return table.table.schema()
    snapshot = ref_snapshot(table.table, ref)
    return table.table.schema() if snapshot is None else file_metadata.schema_of(table.table, snapshot)


def _find_table(lake: Lake, caller: Caller, row: Dataset) -> TableScan | None:
    name = TableName(row.table_name)
    return lake_catalog_calls.read(caller, [name], lambda: scan.find_table(lake, name))


def _check_sources(database: Database, lake: Lake, caller: Caller, ids: object) -> None:
    for source_id in ids if isinstance(ids, list) else ():
        with database.reading() as session:
            try:
                source = entities.find(session, caller, SourceConnection, "sourceConnections", str(source_id))
            except Problem:
                continue
            visible = select(Dataset).where(*datasets.visible_to(caller), Dataset.id.in_(source.columns or {}))
            rows = session.scalars(visible).all()
        for row in rows:
            _check_choice(lake, caller, source, row)


def _check_choice(lake: Lake, caller: Caller, source: SourceConnection, row: Dataset) -> None:
    choice = choice_of(source, row.id)
    if choice is None:
        return
    try:
        table = _find_table(lake, caller, row)
        if table is not None:
            column_lookup.select(table.table, _schema(table, (source.refs or {}).get(row.id)), choice)
    except (UnfitChoiceError, UnknownRefError) as error:
        raise problems.of_field(
            "/sourceConnectionIds",
            f"has source connection {source.id}, but in dataset {row.id} {error}; create a source connection with "
            "columns that the table has",
        ) from None
    except (DeliveryError, Problem):
        # The table cannot be read now. The run checks the columns too.
        return
