"""Preview of a batch's uploaded files (contract, section 24), and dry run of its import."""

import functools
import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from offtake.catalog import batches, column_types, datasets, uploaded_files
from offtake.catalog.file_options import parse_options
from offtake.contract import catalog_query, problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import FieldProblem
from offtake.lake.ingest import Attempt, DryRun
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.errors import EncodingError, ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.table_names import TableName
from offtake.lake.uploads import Uploads
from offtake.store.batches import OPEN
from offtake.store.tables import Batch

_MAX: int = 100
_NO_TABLE: Final = "missing_dataset"
_PARAMETERS = ("format", "isMultiLineJson", "delimiter", "quote", "escape", "charset", "header")


@dataclass(frozen=True)
class DryRunRequest:
    """The input of a dry run, loaded from the database."""

    table: TableName
    files: tuple[InputFile, ...]
    attempt: Attempt
    options: ParseOptions


def source(
    session: Session, caller: Caller, uploads: Uploads, batch_id: str, dataset_id: str, params: dict[str, str]
) -> tuple[InputFile, batches.InputFormat]:
    """The batch's first complete file, and its format: the batch's own, overridden by the request's parameters."""
    batch = _readable_files(session, caller, batch_id, dataset_id)
    overrides = {name: value for name, value in params.items() if name in _PARAMETERS and value}
    shape = batches.read_format({**batch.input_format, **overrides})
    return _complete_files(session, batch, uploads, shape)[0], shape


def rows(parsers: Parsers, file: InputFile, input_format: batches.InputFormat, count: str | None) -> Json:
    """Columns and rows as text; `count` 0 or None: the maximum of 100 rows."""
    limit = catalog_query.number("/nrow", count or "0", 0, _MAX) or _MAX
    try:
        table = parsers.preview(file, parse_options(input_format), limit)
    except ImportRefusedError as error:
        raise _refused(error) from None
    columns = [{"cid": str(index), "name": name} for index, name in enumerate(table.schema.names)]
    shown = [{str(index): _text(value) for index, value in enumerate(row.values())} for row in table.to_pylist()]
    return {
        "formatParams": input_format.model_dump(by_alias=True, exclude_none=True),
        "preview": {"columns": columns, "rows": shown},
    }


def load_dry_run(
    session: Session,
    caller: Caller,
    uploads: Uploads,
    batch_id: str,
    dataset_id: str,
    input_format: batches.InputFormat | None = None,
    *,
    evolve: bool = False,
) -> DryRunRequest:
    """Load the input of `dry_run`; raises 1422 when the batch has ended, or has no complete file.

    `input_format` and `evolve`: instead of the batch's own. A batch without a dataset is for a new one.
    """
    batch = _readable_files(session, caller, batch_id, dataset_id)
    shape = input_format or batches.read_format(batch.input_format)
    files = tuple(_complete_files(session, batch, uploads, shape))
    if dataset_id == batches.NO_DATASET:
        table = TableName(f"{datasets.namespace(caller.sandbox_id)}.{_NO_TABLE}")
        return DryRunRequest(table, files, Attempt(batch.id, may_rewrite=bool), parse_options(shape))
    dataset = datasets.get(session, caller, dataset_id)
    return DryRunRequest(
        TableName(dataset.table_name),
        files,
        Attempt(
            batch.id,
            replaces=batches.batches_to_replace(session, batch),
            evolve=dataset.evolves or batch.evolve or evolve,
            may_rewrite=functools.partial(bool, datasets.may_rewrite(session, dataset.id)),
        ),
        parse_options(shape),
    )


def dry_run(parsers: Parsers, request: DryRunRequest) -> Json:
    """The effect of the batch on its dataset; writes nothing. Raises 1452 with the reason when it would be refused."""
    try:
        return dry_run_document(parsers.dry_run(request.table, request.files, request.attempt, request.options))
    except ImportRefusedError as error:
        raise _refused(error) from None


def dry_run_document(result: DryRun) -> Json:
    """A dry run as the API and the command line show it."""
    return {
        "rows": result.rows,
        "columnsAdded": list(result.columns_added),
        "typesChanged": list(result.types_changed),
        "columns": column_types.documents(result.schema),
        "notes": list(result.notes),
    }


def _refused(error: ImportRefusedError) -> Problem:
    """The error 1452; names the field `charset` for bytes that are not valid in the file's encoding."""
    is_encoding = isinstance(error, EncodingError)
    fields = [FieldProblem("/inputFormat/charset", str(error))] if is_encoding else []
    return Problem(problems.BAD_VALUE, str(error), fields=fields)


def _readable_files(session: Session, caller: Caller, batch_id: str, dataset_id: str) -> Batch:
    batch = uploaded_files.find_batch(session, caller, batch_id, dataset_id)
    if batch.status not in OPEN or batches.is_import(batch) or batch.snapshot_id is not None:
        message = f"Batch {batch.id} is {batch.status}; its uploaded files no longer exist."
        raise Problem(problems.WRONG_ACTION, message, batches.RESOURCE, batch.id)
    return batch


def _complete_files(session: Session, batch: Batch, uploads: Uploads, shape: batches.InputFormat) -> list[InputFile]:
    found = uploaded_files.input_files(session, batch, uploads, shape)
    if not found:
        raise Problem(problems.WRONG_ACTION, "The batch has no complete file yet.", batches.RESOURCE, batch.id)
    return found


def _text(value: object) -> str:
    if isinstance(value, (dict, list, bool)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)
