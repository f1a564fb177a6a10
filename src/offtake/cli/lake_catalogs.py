"""The commands `offtake catalog …` and `offtake dataset register`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from offtake.catalog import kept_namespaces, lake_catalog_calls, lake_catalogs, namespace_sync, registration
from offtake.catalog.lake_catalog_calls import parse_name
from offtake.catalog.namespace_sync import Round
from offtake.cli import output
from offtake.cli.local import operating
from offtake.cli.options import AsJson, DataDir, InSandbox
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.errors import OfftakeError
from offtake.lake.catalogs import declarations
from offtake.lake.table_names import FILES

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
    if row.type == FILES:
        output.console.print("Nothing is tested without a table: register one with --metadata LOCATION.")
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


def sync(catalog: Catalog, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Compare the catalog's namespaces that are kept in step with the catalog, now and completely."""
    with operating(data_dir, sandbox) as (backend, caller):
        with backend.database.reading() as session:
            row = lake_catalogs.find(session, caller, catalog)
            kept = [(one.id, one.name) for one in kept_namespaces.all_of(session, caller, row.id)]
        if not kept:
            raise OfftakeError(
                f"Catalog {row.name} has no namespace that is kept in step: "
                f"offtake dataset register --catalog {row.name} --namespace NAME"
            )
        found = {name: _sync(backend, row_id) for row_id, name in kept}
    _show_rounds(found, json=json)


def _sync(backend: Backend, namespace_id: str) -> Round:
    done = Round()
    now = backend.clock.now_ms()
    for done in namespace_sync.sync(backend.database, backend.registered, namespace_id, now, whole=True):  # noqa: B007 - the last one counts
        pass
    return done


def _show_rounds(found: Mapping[str, Round], *, json: bool) -> None:
    if json:
        output.as_json({name: asdict(done) for name, done in found.items()})
    for name, done in found.items() if not json else ():
        line = f"namespace {name}: {len(done.appeared)} table(s) appeared, {len(done.gone)} gone"
        output.console.print(line, markup=False)
        for table, dataset in done.collisions.items():
            output.console.print(f"  {table} is dataset {dataset}: another dataset has its name", markup=False)
        for table, why in done.refused.items():
            output.console.print(f"  {table} is not registered: {why}", markup=False)
    failed = [f"Namespace {name}: {done.problem}" for name, done in found.items() if done.problem]
    if failed:
        raise OfftakeError(" ".join(failed))


def _register_namespace(backend: Backend, caller: Caller, catalog: str, namespace: str, *, json: bool) -> None:
    steps = parse_name(namespace, "--namespace")
    with backend.database.reading() as session:
        row_id = lake_catalogs.find(session, caller, catalog).id
    listed = len(lake_catalog_calls.tables_in(backend.registered, caller, row_id, steps))
    with backend.database.writing() as session:
        row = lake_catalogs.find(session, caller, catalog)
        kept = kept_namespaces.keep(session, caller, row, steps, listed, backend.clock.now_ms())
        kept_id, name = kept.id, kept.name
    _show_rounds({name: _sync(backend, kept_id)}, json=json)


def register(
    catalog: Annotated[str, typer.Option("--catalog", help="The catalog's id or name.")],
    name: Annotated[str | None, typer.Argument(help="The dataset's name; not with --namespace.")] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help='The table, such as sales.orders; with dots in names as JSON: ["a.b", "c"].'),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", help="A whole namespace: new tables appear, dropped ones are shown as gone."),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", help="For catalogs of type files: the location of the table's metadata or folder."),
    ] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Register a table or a namespace of a catalog as datasets, which are read where they are."""
    if sum(one is not None for one in (table, metadata, namespace)) != 1:
        raise OfftakeError("Give either --table, --namespace or, for a catalog of type files, --metadata.")
    if (name is None) != (namespace is not None):
        raise OfftakeError(
            "A namespace's datasets have the names of their tables: leave out the dataset's name."
            if namespace is not None
            else "Name the dataset: offtake dataset register NAME --catalog …"
        )
    with operating(data_dir, sandbox) as (backend, caller):
        if namespace is not None:
            _register_namespace(backend, caller, catalog, namespace, json=json)
            return
        with backend.database.reading() as session:
            row = lake_catalogs.find(session, caller, catalog)
            if (row.type == FILES) != (metadata is not None):
                option = "--metadata" if row.type == FILES else "--table"
                raise OfftakeError(f"Catalog {row.name} is of type {row.type}: name the table with {option}.")
            identifier = registration.identifier_of(row, caller, table, metadata, "--table")
            catalog_id = row.id
        found = registration.find(backend.registered, caller, catalog_id, identifier)
        with backend.database.writing() as session:
            dataset = registration.register(session, caller, str(name), found, backend.clock.now_ms())
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
