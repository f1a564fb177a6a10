"""The datasets that can be exported: all that the caller may see (contract, section 12)."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.catalog import dataset_documents, datasets
from offtake.contract import catalog_query, problems
from offtake.contract.caller import Caller
from offtake.destinations.registry import DESTINATIONS
from offtake.documents import Json
from offtake.flows import specs
from offtake.lake.catalog import Lake
from offtake.store.database import Database
from offtake.store.tables import Dataset

_COMPACT: Final = ("name", "description", "fileDescription", "aspect", "state")
_REQUIRED: Final = {"outputType": "activationDatasets", "outputField": "datasets"}


def has_any(session: Session, caller: Caller) -> bool:
    """Whether there is a dataset that the caller may see."""
    return session.scalar(select(Dataset.id).where(*datasets.visible_to(caller)).limit(1)) is not None


def page(database: Database, lake: Lake, caller: Caller, spec_id: str, params: Sequence[tuple[str, str]]) -> Json:
    """One page of datasets with the contract's `pageInfo`; Catalog's list parameters filter and order it."""
    if spec_id not in {specs.DATA_LAKE, *(destination.connection_spec_id for destination in DESTINATIONS)}:
        raise problems.not_found("connectionSpecs", spec_id)
    sent = dict(params)
    for name, value in _REQUIRED.items():
        if not sent.get(name):
            raise problems.missing_parameter(name, f"{name}={value}")
        if sent[name] != value:
            raise problems.of_field(f"/{name}", f"must be {value}")
    # The response has at least these properties, whatever is selected.
    selection = [
        (name, f"{value},{','.join(_COMPACT)}" if name == "properties" and value.strip() else value)
        for name, value in params
        if name not in _REQUIRED
    ]
    with database.reading() as session:
        query = catalog_query.read(session, dataset_documents.SHAPE, selection)
        mine = select(func.count()).select_from(Dataset).where(*datasets.visible_to(caller), query.condition)
        total = session.scalar(mine) or 0
        rows = dataset_documents.rows(session, caller, query)
        around = dataset_documents.surroundings(session, rows)
    documents = dataset_documents.documents(caller, lambda: lake, rows, around, query)
    items = [{"id": row_id, **document} for row_id, document in documents.items()]
    end = query.start + len(items) - 1
    info = {"start": query.start, "end": end, "total": total, "hasNext": end + 1 < total}
    return {"items": items, "pageInfo": info}
