"""The commands `offtake dataset …`."""

from collections.abc import Sequence
from json import loads as parse_json
from pathlib import Path
from typing import Annotated, Any

import typer

from offtake.catalog import dataset_documents, dataset_tables, datasets, file_import, upload_preview
from offtake.catalog.file_import import ImportRequest
from offtake.cli import file_options as options
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.errors import OfftakeError
from offtake.lake import table_description
from offtake.lake.ingest import DryRun
from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset

Name = Annotated[str, typer.Argument(help="The dataset's name or id.")]


def import_(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="The dataset's name; a new dataset is created if none has it.")],
    files: Annotated[list[Path], typer.Argument(help="Parquet, NDJSON or CSV files (the last two also .gz).")],
    delimiter: options.Delimiter = None,
    quote: options.Quote = None,
    escape: options.Escape = None,
    null: options.Null = None,
    encoding: options.Encoding = None,
    no_header: options.NoHeader = False,
    types: options.Types = None,
    nanoseconds: options.Nanoseconds = None,
    evolve: Annotated[bool, typer.Option("--evolve", help="Add columns that the dataset does not have.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and report only; write nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Import files even if they were imported before.")] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Append the rows of FILES to a dataset as one batch: all rows or none."""
    given = {
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "nullMarker": null,
        "charset": encoding,
        "header": False if no_header else None,
        "columnTypes": options.types_by_name(types or []),
        "nanoseconds": nanoseconds,
    }
    wanted = ImportRequest(name, tuple(files), options.parse(given, files), evolve, again)
    with operating(data_dir, sandbox) as (backend, caller):
        if dry_run:
            _show_dry_run(name, file_import.dry_run(backend.database, backend.parsers, caller, wanted), json=json)
            return
        done = file_import.import_files(backend.database, backend.lake, backend.parsers, caller, backend.clock, wanted)
    if json:
        batch = {"id": done.batch.id, "rows": done.batch.rows, "bytes": done.batch.bytes, "notes": done.batch.notes}
        output.as_json({"id": done.dataset.id, "name": name, "created": done.created, "batch": batch})
        return
    kind = "new dataset" if done.created else "dataset"
    line = f"{done.batch.rows:,} rows into {kind} {name} ({done.dataset.id}) as batch {done.batch.id}"
    output.console.print(line, markup=False)
    _show_notes(done.batch.notes)


def _show_dry_run(name: str, found: DryRun, *, json: bool) -> None:
    if json:
        output.as_json(upload_preview.dry_run_document(found))
        return
    output.console.print(
        f"{found.rows:,} rows would be imported into dataset {name}; nothing was written", markup=False
    )
    output.console.print(f"columns that would be added: {', '.join(found.columns_added) or 'none'}", markup=False)
    output.console.print(f"types that would change: {', '.join(found.types_changed) or 'none'}", markup=False)
    _show_notes(found.notes)


def _show_notes(notes: Sequence[str]) -> None:
    for note in notes:
        output.console.print(f"note: {note}", markup=False)


def list_(sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List datasets."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = datasets.all_of(session, caller)
        last = dataset_documents.last_batches(session, [row.id for row in found])
        documents = [{"id": row.id, **dataset_documents.summary(row, last.get(row.id))} for row in found]
    if json:
        output.as_json(documents)
        return
    rows = [(one["id"], one["name"], output.instant(one["created"]), one.get("lastBatchStatus")) for one in documents]
    output.table(("ID", "NAME", "CREATED", "LAST BATCH"), rows, "No datasets yet: offtake dataset import NAME FILE…")


def show_(name: Name, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show a dataset's schema, size and snapshots."""
    with operating(data_dir, sandbox) as (backend, caller):
        row = _find(backend, caller, name)
        found = table_description.describe(backend.lake, TableName(row.table_name))
    if json:
        output.as_json({"id": row.id, "name": row.name, "evolves": row.evolves, **found.to_json()})
        return
    size = f"{found.rows:,} rows, {found.files} files, {output.size(found.bytes)}"
    output.console.print(f"{row.name} ({row.id}): {size}", markup=False)
    evolves = "in batches are added" if row.evolves else "are refused, except in batches with --evolve"
    output.console.print(f"new columns {evolves}", markup=False)
    output.table(("FIELD", "TYPE", "REQUIRED"), [(one.name, one.type, one.required) for one in found.fields], "")
    snapshots = [(one.snapshot_id, one.operation, output.instant(one.timestamp_ms)) for one in found.snapshots]
    output.table(("SNAPSHOT", "OPERATION", "COMMITTED"), snapshots, "No snapshots yet.")


def preview(
    name: Name,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Number of rows.")] = 10,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Print the first rows of a dataset, one JSON object per line."""
    with operating(data_dir, sandbox) as (backend, caller):
        row = _find(backend, caller, name)
        with backend.database.reading() as session:
            found = dataset_documents.preview_lines(session, backend.lake, caller, row.id, rows)
    if json:
        output.as_json([parse_json(line) for line in found])
        return
    for line in found:
        output.console.print(line, markup=False, highlight=False, soft_wrap=True)


def create(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    description: Annotated[str | None, typer.Option("--description", help="A description.")] = None,
    columns: options.Columns = None,
    schema: options.SchemaFile = None,
    evolve: Annotated[bool, typer.Option("--evolve", help="Batches may add columns to it.")] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create an empty dataset; its columns are declared here, or defined by its first batch."""
    extension: dict[str, Any] = {"evolves": evolve, "columns": options.declare_options(columns or [], schema)}
    body = {"name": name, "description": description, "extensions": {"offtake": extension}}
    with operating(data_dir, sandbox) as (backend, caller):
        row = dataset_tables.create(
            backend.database, backend.lake, backend.uploads, caller, body, backend.clock, unique_name=True
        )
    if json:
        output.as_json({"id": row.id, "name": row.name, "evolves": row.evolves})
        return
    output.console.print(f"dataset {row.name} ({row.id}) is created", markup=False)


def update(
    name: Name,
    evolve: Annotated[
        bool | None, typer.Option("--evolve/--no-evolve", help="Whether batches may add columns to it.")
    ] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change whether batches may add columns to a dataset."""
    if evolve is None:
        raise OfftakeError("Nothing to change: give --evolve or --no-evolve.")
    with operating(data_dir, sandbox) as (backend, caller):
        found = _find(backend, caller, name)
        with backend.database.writing() as session:
            row = datasets.get(session, caller, found.id, lock=True)
            datasets.set_evolves(session, caller, row, backend.clock.now_ms(), evolves=evolve)
    if json:
        output.as_json({"id": row.id, "name": row.name, "evolves": row.evolves})
        return
    how = "added" if evolve else "refused"
    output.console.print(f"dataset {row.name}: new columns in batches are {how}", markup=False)


def delete(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Even if flows export it; their runs then fail for it.")
    ] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
) -> None:
    """Delete a dataset with its rows; refused if flows export it."""
    with operating(data_dir, sandbox) as (backend, caller):
        row = _find(backend, caller, name)
        with backend.database.writing() as session:
            deleted = datasets.delete(session, caller, row.id, backend.clock.now_ms(), force=force)
        dataset_tables.remove(backend.lake, backend.uploads, deleted)
    output.console.print(f"dataset {row.name} ({row.id}) is deleted", markup=False)


def label(
    name: Name,
    labels: Annotated[list[str] | None, typer.Argument(help="All labels of the dataset, such as core/C12.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove all labels.")] = False,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Replace the access labels of a dataset; only clients with all of its labels can see it."""
    if bool(labels) == remove:
        raise OfftakeError("Give the labels, or --remove to remove all of them.")
    with operating(data_dir, sandbox) as (backend, caller):
        row = _find(backend, caller, name)
        with backend.database.writing() as session:
            stored = datasets.get(session, caller, row.id, lock=True)
            after = datasets.set_labels(session, caller, stored, labels or [], backend.clock.now_ms())
    if json:
        output.as_json({"id": row.id, "labels": after})
        return
    output.console.print(f"dataset {row.name} has the labels: {', '.join(after) or 'none'}", markup=False)


def _find(backend: Backend, caller: Caller, name: str) -> Dataset:
    with backend.database.reading() as session:
        row = datasets.find(session, caller, name)
    if row is None:
        raise OfftakeError(f"Dataset {name} does not exist in sandbox {caller.sandbox_name}; see: offtake dataset list")
    return row
