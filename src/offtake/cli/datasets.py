"""The commands `offtake dataset …`."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from offtake.cli import file_options as options
from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import chosen_server, connected
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id, Instant
from offtake.client import names
from offtake.client.problems import ServerError
from offtake.client.server import CATALOG, DATA_ACCESS, LABELS
from offtake.documents import Json
from offtake.errors import OfftakeError

Name = Annotated[
    str,
    typer.Argument(help="The dataset's name or id, or the beginning of its id.", autocompletion=names_of("datasets")),
]
_NAMED = 10


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
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Append the rows of FILES to a dataset as one batch: all rows or none.

    Files are read where they are; over the network, they are uploaded.
    """
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
    how, where = {"evolve": evolve, "again": again}, (server, data_dir, sandbox)
    found = _import(name, files, options.check(given, files), how, where, dry_run=dry_run)
    if dry_run:
        _show_dry_run(name, found, json=json)
        return
    dataset, batch = found["dataset"], found["batch"]
    if json:
        output.as_json({"id": dataset["id"], "name": name, "created": found["created"], "batch": batch})
        return
    kind = "new dataset" if found["created"] else "dataset"
    output.line(f"{output.count_of(batch['rows'], 'row')} into {kind} {name} ({dataset['id']}) as batch {batch['id']}")
    _show_notes(batch["notes"])


def _import(
    name: str,
    files: Sequence[Path],
    given: Json,
    how: dict[str, bool],
    where: tuple[str | None, Path | None, str | None],
    *,
    dry_run: bool,
) -> Json:
    """Import the files, or describe what an import would do; `where`: server, data directory and sandbox."""
    server, data_dir, sandbox = where
    if chosen_server(server, data_dir) is None:
        from offtake.cli import local_import as local  # noqa: PLC0415 - only for a local deployment

        carry_out = local.dry_run_locally if dry_run else local.import_locally
        return carry_out(data_dir, sandbox, name, files, local.parse(given), **how)
    from offtake.cli import ingesting  # noqa: PLC0415 - only over the network

    with connected(server, data_dir, sandbox) as to:
        wanted = ingesting.RemoteImport(name, tuple(files), given, **how)
        if dry_run:
            return ingesting.dry_run_remotely(to, wanted)
        done = ingesting.import_remotely(to, wanted)
    return done | {"batch": ingesting.batch_summary(done["batch"])}


def _show_dry_run(name: str, found: Json, *, json: bool) -> None:
    if json:
        output.as_json(found)
        return
    output.line(f"{output.count_of(found['rows'], 'row')} would be imported into dataset {name}; nothing was written")
    output.line(f"columns that would be added: {', '.join(found['columnsAdded']) or 'none'}")
    output.line(f"types that would change: {', '.join(found['typesChanged']) or 'none'}")
    _show_notes(found["notes"])


def _show_notes(notes: Sequence[str]) -> None:
    for note in notes:
        output.line(f"note: {note}")


def list_(server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List datasets."""
    query = [("orderBy", "desc:created")]
    if not json:
        # The other properties need the dataset's table.
        query.append(("properties", "name,created,lastBatchStatus,extensions.offtake"))
    with connected(server, data_dir, sandbox) as to:
        found = list(to.get_by_start(f"{CATALOG}/dataSets", None, query))
    if json:
        output.as_json(found)
        return
    rows = [
        (Id(one["id"]), one.get("name"), Instant(one.get("created")), one.get("lastBatchStatus"), _kept(one))
        for one in found
    ]
    columns = ("ID", "NAME", "CREATED", "LAST BATCH", "REGISTERED TABLE")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]  # type: ignore[assignment,misc] # without the last
    output.table(columns, rows, "No datasets yet: offtake dataset import NAME FILE…")


def _kept(dataset: Json) -> str:
    """Where a registered table is kept; empty for other datasets."""
    kept = dataset.get("extensions", {}).get("offtake", {}).get("registered") or dataset.get("registered")
    if not kept:
        return ""
    gone = f", gone since {output.instant(kept['goneSince'])}" if kept.get("goneSince") else ""
    return f"{kept['table']} of catalog {kept.get('catalog', kept['catalogId'])}{gone}"


def show_(
    name: Name, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Show a dataset's schema, size and snapshots."""
    with connected(server, data_dir, sandbox) as to:
        dataset = names.find_dataset(to, name)
        if (kept := _kept(dataset)) and not json:
            # Before the table is read, which may be impossible: then this says which one.
            output.line(f"{dataset['name']} ({dataset['id']}) is the registered table {kept}")
        found = to.get_extension(f"{CATALOG}/dataSets/{quote(dataset['id'])}/table")
    if json:
        output.as_json(dataset if found is None else found)
        return
    if found is None:
        output.line(f"{dataset['name']} ({dataset['id']})")
        output.note(f"{to.name} does not describe the dataset's table: an extension of Offtake.")
        return
    rows, files = output.count_of(found["rows"], "row"), output.count_of(found["files"], "file")
    output.line(f"{found['name']} ({found['id']}): {rows}, {files}, {output.size(found['bytes'])}")
    if kept:
        output.line(f"it is read-only here; its UUID is {found['registered']['uuid']}")
    else:
        evolves = "in batches are added" if found["evolves"] else "are refused, except in batches with --evolve"
        output.line(f"new columns {evolves}")
    output.table(
        ("FIELD", "TYPE", "REQUIRED"), [(one["name"], one["type"], one["required"]) for one in found["fields"]], ""
    )
    snapshots = [(one["snapshot_id"], one["operation"], Instant(one["timestamp_ms"])) for one in found["snapshots"]]
    output.table(("SNAPSHOT", "OPERATION", "COMMITTED"), snapshots, "No snapshots yet.")


def preview(
    name: Name,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Number of rows.")] = 10,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: one object per line, as without.")] = False,
) -> None:
    """Print the first rows of a dataset, one JSON object per line."""
    del json
    with connected(server, data_dir, sandbox) as to:
        dataset_id = names.find_dataset(to, name)["id"]
        path, lines = f"{DATA_ACCESS}/datasets/{quote(dataset_id)}", list[bytes]()
        try:
            to.get_lines(f"{path}/rows", [("limit", str(rows))], lines.append)
        except ServerError as error:
            if not error.is_not_served:
                raise
            lines = [dumps(one, ensure_ascii=False).encode() for one in to.get(f"{path}/preview")["data"][:rows]]
    for line in lines:
        output.row(line.decode())


def label(
    name: Name,
    labels: Annotated[list[str] | None, typer.Argument(help="All labels of the dataset, such as core/C12.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove all labels.")] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Replace the access labels of a dataset; only clients with all of its labels can see it."""
    if bool(labels) == remove:
        raise OfftakeError("Give the labels, or --remove to remove all of them.")
    with connected(server, data_dir, sandbox) as to:
        dataset = names.find_dataset(to, name)
        path = f"{LABELS}/datasets/{quote(dataset['id'])}/labels"
        after = to.put(path, {"labels": labels or [], "optionalLabels": []}, {"if-match": "*"})["labels"]
    if json:
        output.as_json({"id": dataset["id"], "labels": after})
        return
    output.line(f"dataset {dataset['name']} has the labels: {', '.join(after) or 'none'}")


def create(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    description: Annotated[str | None, typer.Option("--description", help="A description.")] = None,
    columns: options.Columns = None,
    schema: options.SchemaFile = None,
    evolve: Annotated[bool, typer.Option("--evolve", help="Batches may add columns to it.")] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Create an empty dataset; its columns are declared here, or defined by its first batch."""
    declared = options.declare_options(columns or [], schema)
    extension: Json = {"evolves": evolve} | ({} if declared is None else {"columns": declared})
    body: Json = {"name": name} | ({} if description is None else {"description": description})
    with connected(server, data_dir, sandbox) as to:
        taken = names.find_datasets(to, name.strip())
        if taken:
            ids = ", ".join(one["id"] for one in taken[:_NAMED])
            raise OfftakeError(f"A dataset with the name or id {name.strip()} exists already: {ids}.")
        if evolve or declared is not None:
            body["extensions"] = {"offtake": extension}
        (path,) = to.post(f"{CATALOG}/dataSets", body)
        made = names.find_dataset(to, path.rpartition("/")[2])
    if json:
        output.as_json({"id": made["id"], "name": made["name"], "evolves": _evolves(made)})
        return
    output.line(f"dataset {made['name']} ({made['id']}) is created")


def update(
    name: Name,
    evolve: Annotated[
        bool | None, typer.Option("--evolve/--no-evolve", help="Whether batches may add columns to it.")
    ] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change whether batches may add columns to a dataset."""
    if evolve is None:
        raise OfftakeError("Nothing to change: give --evolve or --no-evolve.")
    with connected(server, data_dir, sandbox) as to:
        found = names.find_dataset(to, name)
        to.merge(f"{CATALOG}/dataSets/{quote(found['id'])}", {"extensions": {"offtake": {"evolves": evolve}}})
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "evolves": evolve})
        return
    how = "added" if evolve else "refused"
    output.line(f"dataset {found['name']}: new columns in batches are {how}")


def delete(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Even if flows export it; their runs then fail for it.")
    ] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a dataset with its rows; refused if flows export it."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find_dataset(to, name)
        to.delete(f"{CATALOG}/dataSets/{quote(found['id'])}", (("force", "true"),) if force else ())
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True})
        return
    output.line(f"dataset {found['name']} ({found['id']}) is deleted")


def _evolves(dataset: Json) -> bool:
    return bool(dataset.get("extensions", {}).get("offtake", {}).get("evolves"))
