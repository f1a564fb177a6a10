"""What was sent for a batch so far: its first rows (contract, section 24), and what it would do to its dataset."""

import functools
import json
from dataclasses import dataclass

from sqlalchemy.orm import Session

from offtake.catalog import batches, column_types, datasets, uploaded_files
from offtake.catalog.file_options import parse_options
from offtake.contract import catalog_query, problems
from offtake.contract.bodies import Json
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.lake.catalog import TableName
from offtake.lake.ingest import Attempt, DryRun
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.upload_folder import Uploads
from offtake.store.batches import OPEN
from offtake.store.tables import Batch

_MAX: int = 100
_PARAMETERS = ("format", "isMultiLineJson", "delimiter", "quote", "escape", "charset", "header")


@dataclass(frozen=True)
class DryRunRequest:
    """What a dry run of a batch needs, once it has been looked up."""

    table: TableName
    files: tuple[InputFile, ...]
    attempt: Attempt
    options: ParseOptions


def source(
    session: Session, caller: Caller, uploads: Uploads, batch_id: str, dataset_id: str, asked: dict[str, str]
) -> tuple[InputFile, batches.InputFormat]:
    """The batch's first whole file, and how it is read: as the batch was said to be, unless asked otherwise."""
    batch = _readable_files(session, caller, batch_id, dataset_id)
    changed = {name: value for name, value in asked.items() if name in _PARAMETERS and value}
    shape = batches.read_format({**batch.input_format, **changed})
    return _whole_files(session, batch, uploads, shape)[0], shape


def rows(parsers: Parsers, file: InputFile, how: batches.InputFormat, count: str | None) -> Json:
    """Columns and rows, as text; 0 for `count` means as many as may be."""
    wanted = catalog_query.number("/nrow", count or "0", 0, _MAX) or _MAX
    try:
        table = parsers.preview(file, parse_options(how), wanted)
    except ImportRefusedError as error:
        raise Problem(problems.BAD_VALUE, str(error)) from None
    columns = [{"cid": str(index), "name": name} for index, name in enumerate(table.schema.names)]
    shown = [{str(index): _text(value) for index, value in enumerate(row.values())} for row in table.to_pylist()]
    return {
        "formatParams": how.model_dump(by_alias=True, exclude_none=True),
        "preview": {"columns": columns, "rows": shown},
    }


def load_dry_run(session: Session, caller: Caller, uploads: Uploads, batch_id: str, dataset_id: str) -> DryRunRequest:
    """What `dry_run` needs; raises 1422 when the batch is over, or no file of it has come in whole."""
    batch = _readable_files(session, caller, batch_id, dataset_id)
    dataset = datasets.get(session, caller, dataset_id)
    shape = batches.read_format(batch.input_format)
    return DryRunRequest(
        TableName(dataset.table_name),
        tuple(_whole_files(session, batch, uploads, shape)),
        Attempt(
            batch.id,
            replaces=batches.mark_replaced(session, batch),
            evolve=dataset.evolves or batch.evolve,
            may_rewrite=functools.partial(bool, datasets.may_rewrite(session, dataset.id)),
        ),
        parse_options(shape),
    )


def dry_run(parsers: Parsers, what: DryRunRequest) -> Json:
    """What the batch would do to its dataset; writes nothing. Raises 1452 with the reason when it would be refused."""
    try:
        return dry_run_document(parsers.dry_run(what.table, what.files, what.attempt, what.options))
    except ImportRefusedError as error:
        raise Problem(problems.BAD_VALUE, str(error)) from None


def dry_run_document(found: DryRun) -> Json:
    """A dry run as the API and the command line show it."""
    return {
        "rows": found.rows,
        "columnsAdded": list(found.columns_added),
        "typesChanged": list(found.types_changed),
        "columns": column_types.documents(found.schema),
        "notes": list(found.notes),
    }


def _readable_files(session: Session, caller: Caller, batch_id: str, dataset_id: str) -> Batch:
    batch = uploaded_files.readable(session, caller, batch_id, dataset_id)
    if batch.status not in OPEN or batches.is_import(batch) or batch.snapshot_id is not None:
        message = f"Batch {batch.id} is {batch.status}; what was sent for it is no longer here."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    return batch


def _whole_files(session: Session, batch: Batch, uploads: Uploads, shape: batches.InputFormat) -> list[InputFile]:
    found = uploaded_files.input_files(session, batch, uploads, shape)
    if not found:
        raise Problem(problems.WRONG_ACTION, "No file of the batch has come in whole yet.", batches.RESOURCE, batch.id)
    return found


def _text(value: object) -> str:
    if isinstance(value, (dict, list, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)
