"""Source connections: which datasets go out (contract, sections 6.3 and 13.1)."""

from typing import Any

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows import connections, entities, problems, specs
from offtake.flows.access import EXPORT_DATASETS, VIEW_DATASETS, Caller
from offtake.flows.entities import Body, Json, NewEntity, Sent, SpecRef
from offtake.flows.problems import Problem
from offtake.store.tables import Connection, Dataset, SourceConnection

_LAKE_CONNECTION = "Data Lake"


class DatasetRef(Body):
    """One dataset to export; the name is for people and may be left out."""

    data_set_id: str
    name: str | None = None


class SourceParams(Body):
    """What a source connection selects."""

    datasets: list[DatasetRef] = Field(min_length=1)


class NewSourceConnection(NewEntity):
    """`POST /sourceConnections`."""

    connection_spec: SpecRef
    params: SourceParams
    data: dict[str, Any] | None = None


def create(session: Session, caller: Caller, body: Sent, now_ms: int) -> SourceConnection:
    """Store a source connection over datasets that exist in the caller's sandbox."""
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    asked = entities.parse_body(NewSourceConnection, body)
    connections.check_version(asked.connection_spec)
    if asked.connection_spec.id != specs.DATA_LAKE:
        raise Problem(problems.UNKNOWN_SPEC, f"Datasets come from the connection spec {specs.DATA_LAKE}.")
    dataset_ids = [dataset.data_set_id for dataset in asked.params.datasets]
    _check_datasets(session, caller, dataset_ids)
    row = SourceConnection(
        **entities.stamp(caller, now_ms),
        name=asked.name,
        description=asked.description,
        state=entities.ENABLED,
        connection_spec_id=specs.DATA_LAKE,
        base_connection_id=_lake_connection(session, caller, now_ms).id,
        dataset_ids=dataset_ids,
        data=asked.data,
    )
    session.add(row)
    return row


def render(session: Session, row: SourceConnection, caller: Caller) -> Json:
    """The source connection as the API shows it, with the datasets' names of today."""
    base = session.get_one(Connection, row.base_connection_id)
    return (
        entities.head(row, caller)
        | {
            "baseConnectionId": base.id,
            "connectionSpec": entities.spec_ref(row.connection_spec_id),
            "params": {"datasets": [_dataset(session, dataset_id) for dataset_id in row.dataset_ids]},
            "inheritedAttributes": {"baseConnection": connections.reference(base)},
        }
        | ({"data": row.data} if row.data else {})
    )


def _dataset(session: Session, dataset_id: str) -> Json:
    dataset = session.get(Dataset, dataset_id)
    return {"dataSetId": dataset_id} | ({"name": dataset.name} if dataset else {})


def _check_datasets(session: Session, caller: Caller, dataset_ids: list[str]) -> None:
    known = set(
        session.scalars(select(Dataset.id).where(Dataset.sandbox_id == caller.sandbox_id, Dataset.id.in_(dataset_ids)))
    )
    found = []
    for index, dataset_id in enumerate(dataset_ids):
        path = f"/params/datasets/{index}/dataSetId"
        if dataset_id not in known:
            found.append(FieldProblem(path, f"dataset {dataset_id} does not exist in sandbox {caller.sandbox_name}"))
        elif dataset_id in dataset_ids[:index]:
            found.append(FieldProblem(path, f"dataset {dataset_id} is named twice"))
    if found:
        raise problems.of_fields(InvalidInputError(found))


def _lake_connection(session: Session, caller: Caller, now_ms: int) -> Connection:
    """The sandbox's one internal base connection to its data lake, made on demand."""
    same = (Connection.sandbox_id == caller.sandbox_id, Connection.connection_spec_id == specs.DATA_LAKE)
    row = session.scalar(select(Connection).where(*same))
    if row is None:
        row = Connection(
            **entities.stamp(caller, now_ms),
            name=_LAKE_CONNECTION,
            state=entities.ENABLED,
            connection_spec_id=specs.DATA_LAKE,
        )
        session.add(row)
        session.flush()
    return row
