"""The datasets that can be exported: every dataset of the sandbox (contract, section 12)."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.destinations.registry import DESTINATIONS
from offtake.flows import datasets as catalog
from offtake.flows import problems, specs
from offtake.flows.access import Caller
from offtake.flows.entities import Json
from offtake.flows.problems import Problem
from offtake.store.tables import Dataset

_DEFAULT_LIMIT: Final = 20
_MOST: Final = 100
_COMPACT: Final = ("id", "name", "description", "fileDescription", "aspect", "state")
_REQUIRED: Final = {"outputType": "activationDatasets", "outputField": "datasets"}


def datasets(session: Session, caller: Caller, spec_id: str, params: Mapping[str, str]) -> Json:
    """One page of datasets, newest first, with the contract's `pageInfo`."""
    if spec_id not in {specs.DATA_LAKE, *(destination.connection_spec_id for destination in DESTINATIONS)}:
        raise problems.not_found("connectionSpecs", spec_id)
    _check_output(params)
    start = _number(params, "start", 0, 0, None)
    limit = _number(params, "limit", _DEFAULT_LIMIT, 1, _MOST)
    mine = Dataset.sandbox_id == caller.sandbox_id
    total = session.scalar(select(func.count()).select_from(Dataset).where(mine)) or 0
    newest_first = select(Dataset).where(mine).order_by(Dataset.created_at.desc(), Dataset.id)
    rows = session.scalars(newest_first.offset(start).limit(limit)).all()
    wanted = [one.strip() for one in params.get("properties", "").split(",") if one.strip()]
    items = [_item(session, row, wanted) for row in rows]
    end = start + len(items) - 1
    return {"items": items, "pageInfo": {"start": start, "end": end, "total": total, "hasNext": end + 1 < total}}


def _item(session: Session, row: Dataset, wanted: list[str]) -> Json:
    whole = catalog.summary(row, catalog.last_batch(session, row.id))
    if not wanted:
        return whole
    return {key: value for key, value in whole.items() if key in _COMPACT or key in wanted}


def _check_output(params: Mapping[str, str]) -> None:
    for name, value in _REQUIRED.items():
        if not params.get(name):
            raise Problem(problems.PARAMETER_MISSING, f"The query parameter {name} is required: {name}={value}.")
        if params[name] != value:
            raise problems.of_field(f"/{name}", f"must be {value}")


def _number(params: Mapping[str, str], name: str, default: int, least: int, most: int | None) -> int:
    text = params.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) < least or (most and int(text) > most):  # noqa: PLR2004 - nine digits fit every column
        upper = f" to {most}" if most else " or more"
        raise problems.of_field(f"/{name}", f"must be a whole number, {least}{upper}")
    return int(text)
