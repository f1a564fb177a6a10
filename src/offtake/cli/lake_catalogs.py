"""The commands `offtake catalog …` and `offtake dataset register`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from offtake.catalog import lake_catalogs, registration
from offtake.catalog.lake_catalog_calls import parse_name
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.errors import OfftakeError
from offtake.lake.catalogs import declarations

Catalog = Annotated[str, typer.Argument(help="The catalog's id or name.")]
_ENVIRONMENT: Final = "env:"


def add(
    name: Annotated[str, typer.Argument(help="The catalog's name.")],
    kind: Annotated[str, typer.Option("--type", help=f"One of: {', '.join(declarations.TYPES)}.")],
    properties: Annotated[
        list[str] | None,
        typer.Option("--property", help="NAME=VALUE; the value env:VARIABLE is read from the environment."),
    ] = None,
    secret_files: Annotated[
        list[str] | None, typer.Option("--secret-file", help="NAME=FILE: the property's value is the file's content.")
    ] = None,
    prompts: Annotated[
        list[str] | None, typer.Option("--secret", help="NAME: the property's value is asked for, and not shown.")
    ] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Add a catalog with its properties, by PyIceberg's names."""
    values = _values(properties or (), secret_files or (), prompts or ())
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        new = {"name": name, "type": kind, "properties": values}
        row = lake_catalogs.create(session, caller, backend.vault, backend.network, new, backend.clock.now_ms())
        document = lake_catalogs.render(row)
    if json:
        output.as_json(document)
        return
    output.console.print(
        f"catalog {name} ({document['id']}) is added; test it: offtake catalog test {name}", markup=False
    )


def list_(sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List catalogs."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = [lake_catalogs.render(one) for one in lake_catalogs.all_of(session, caller)]
    if json:
        output.as_json(found)
        return
    rows = [(one["id"], one["name"], one["type"]) for one in found]
    output.table(("ID", "NAME", "TYPE"), rows, "No catalogs yet: offtake catalog add NAME --type rest …")


def show(catalog: Catalog, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show a catalog's properties, without its secrets."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        found = lake_catalogs.render(lake_catalogs.find(session, caller, catalog))
    if json:
        output.as_json(found)
        return
    output.console.print(f"{found['name']} ({found['id']}), type {found['type']}", markup=False)
    output.table(("PROPERTY", "VALUE"), sorted(found["properties"].items()), "No properties.")


def run_test(
    catalog: Catalog,
    table: Annotated[str | None, typer.Option("--table", help="A table to read, such as sales.orders.")] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Test a catalog: list its namespaces; read a table."""
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            row = lake_catalogs.find(session, caller, catalog)
            catalog_id = row.id
        namespaces = [".".join(one) for one in backend.registered.namespaces(catalog_id)]
        uuid = None if table is None else backend.registered.find_uuid(catalog_id, parse_name(table, "--table", 2))
    if json:
        output.as_json({"namespaces": namespaces, "tableUuid": uuid})
        return
    output.console.print(f"Success: the catalog answers; namespaces: {', '.join(namespaces) or 'none'}", markup=False)
    if uuid is not None:
        output.console.print(f"Table {table} can be read; its UUID is {uuid}", markup=False)


def remove(catalog: Catalog, sandbox: InSandbox = None, data_dir: DataDir = None) -> None:
    """Forget a catalog; refused while datasets are registered from it."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.writing() as session:
        row = lake_catalogs.find(session, caller, catalog)
        lake_catalogs.remove(session, caller, row, backend.clock.now_ms())
    output.console.print("removed; nothing was changed in the catalog", markup=False)


def register(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    catalog: Annotated[str, typer.Option("--catalog", help="The catalog's id or name.")],
    table: Annotated[
        str | None,
        typer.Option("--table", help='The table, such as sales.orders; with dots in names as JSON: ["a.b", "c"].'),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", help="For catalogs of type files: the location of the table's metadata or folder."),
    ] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Register a table of a catalog as a dataset, which is read where it is kept."""
    if (table is None) == (metadata is None):
        raise OfftakeError("Give either --table or, for a catalog of type files, --metadata.")
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            row = lake_catalogs.find(session, caller, catalog)
            if (row.type == registration.FILES) != (metadata is not None):
                option = "--metadata" if row.type == registration.FILES else "--table"
                raise OfftakeError(f"Catalog {row.name} is of type {row.type}: name the table with {option}.")
            identifier = registration.identifier_of(row, caller, table, metadata, "--table")
            catalog_id = row.id
        found = registration.find(backend.registered, caller, catalog_id, identifier)
        with backend.database.writing() as session:
            dataset = registration.register(session, caller, name, found, backend.clock.now_ms())
    if json:
        output.as_json({"id": dataset.id, "name": dataset.name, "table": dataset.table_name})
        return
    output.console.print(f"table {found} is registered as dataset {name} ({dataset.id})", markup=False)


def _values(properties: Sequence[str], files: Sequence[str], prompts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for option, sent, read in (("--property", properties, _value), ("--secret-file", files, _content)):
        for one in sent:
            name, sign, value = one.partition("=")
            if not sign or not name:
                raise OfftakeError(f"{option}: give NAME=VALUE, such as uri=https://catalog.example.org.")
            found[name] = read(name, value)
    for name in prompts:
        found[name] = typer.prompt(name, hide_input=True)
    return found


def _value(name: str, value: str) -> str:
    if not value.startswith(_ENVIRONMENT):
        return value
    variable = value.removeprefix(_ENVIRONMENT)
    if variable not in os.environ:
        raise OfftakeError(f"--property {name}: the environment has no variable {variable}.")
    return os.environ[variable]


def _content(name: str, file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OfftakeError(f"--secret-file {name}: {file} cannot be read: {error}.") from None
