"""The first rows of what was sent for a batch so far (contract, section 24)."""

import json

from sqlalchemy.orm import Session

from offtake.flows import batches, catalog_query, problems, sent_files
from offtake.flows.access import Caller
from offtake.flows.entities import Json
from offtake.flows.problems import Problem
from offtake.lake.sources import ImportRefusedError, Source
from offtake.lake.uploads import Uploads
from offtake.store.batches import OPEN

_MOST: int = 100
_PARAMETERS = ("format", "isMultiLineJson", "delimiter", "quote", "escape", "charset", "header")


def source(
    session: Session, caller: Caller, uploads: Uploads, batch_id: str, dataset_id: str, asked: dict[str, str]
) -> tuple[Source, Json]:
    """The batch's first whole file, and how it is read: as the batch was said to be, unless asked otherwise."""
    batch = sent_files.readable(session, caller, batch_id, dataset_id)
    if batch.status not in OPEN or batches.is_import(batch) or batch.snapshot_id is not None:
        message = f"Batch {batch.id} is {batch.status}; what was sent for it is no longer here."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    said = {**batch.input_format, **{name: value for name, value in asked.items() if name in _PARAMETERS and value}}
    shape = batches.read_format(said)
    found = sent_files.sources(session, batch, uploads, shape)
    if not found:
        raise Problem(problems.WRONG_ACTION, "No file of the batch has come in whole yet.", batches.RESOURCE, batch_id)
    return found[0], shape.model_dump(by_alias=True, exclude_none=True)


def rows(found: Source, how: Json, count: str | None) -> Json:
    """Columns and rows, as text; 0 for `count` means as many as may be."""
    wanted = catalog_query.number("/nrow", count or "0", 0, _MOST) or _MOST
    try:
        table = found.head(wanted)
    except ImportRefusedError as error:
        raise Problem(problems.BAD_VALUE, str(error)) from None
    columns = [{"cid": str(index), "name": name} for index, name in enumerate(table.schema.names)]
    shown = [{str(index): _text(value) for index, value in enumerate(row.values())} for row in table.to_pylist()]
    return {"formatParams": how, "preview": {"columns": columns, "rows": shown}}


def _text(value: object) -> str:
    if isinstance(value, (dict, list, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)
