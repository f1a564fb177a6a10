"""The commands `offtake catalog …`."""

from typing import Annotated, Final
from urllib.parse import quote

import typer

from offtake.cli import catalog_values, output
from offtake.cli.catalog_values import KindName, Properties, SecretFiles, Secrets
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.namespaces import sync_all
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id
from offtake.client import names
from offtake.client.server import LAKE_CATALOGS
from offtake.client.transport import Query
from offtake.documents import Json
from offtake.errors import OfftakeError

Catalog = Annotated[
    str,
    typer.Argument(help="The catalog's name or id, or the beginning of its id.", autocompletion=names_of("catalogs")),
]
_FILES: Final = "files"
_SHOWN: Final = 20


def add(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="The catalog's name.")],
    kind: KindName,
    properties: Properties = None,
    secret_files: SecretFiles = None,
    secrets: Secrets = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Add a catalog with its properties, by PyIceberg's names."""
    values = catalog_values.read(properties or (), secret_files or (), secrets or ())
    with connected(server, data_dir, sandbox) as to, names.extension(to, "catalogs of others"):
        made = to.post(LAKE_CATALOGS, {"name": name, "type": kind, "properties": values})
        document = to.get_one(_path(made["id"])) if json else made
    if json:
        output.as_json(document)
        return
    shown = output.shell_word(name, made["id"])
    output.line(f"catalog {name} ({made['id']}) is added; test it: offtake catalog test {shown}")


def list_(server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List catalogs."""
    with connected(server, data_dir, sandbox) as to, names.extension(to, "catalogs of others"):
        found = list(to.get_all(LAKE_CATALOGS))
    if json:
        output.as_json(found)
        return
    rows = [(Id(one["id"]), one["name"], one["type"]) for one in sorted(found, key=lambda one: str(one["name"]))]
    output.table(("ID", "NAME", "TYPE"), rows, "No catalogs yet: offtake catalog add NAME --type rest …")


def show(
    catalog: Catalog,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Show a catalog's properties, without its secrets, and its namespaces in step."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find_catalog(to, catalog)
        kept = [] if json else to.get(f"{_path(found['id'])}/keptNamespaces")["items"]
    if json:
        output.as_json(found)
        return
    output.line(f"{found['name']} ({found['id']}), type {found['type']}")
    output.table(("PROPERTY", "VALUE"), sorted(found["properties"].items()), "No properties.")
    if kept:
        rows = [(one["namespace"], one["tables"], len(one["refused"]), one["problem"]) for one in kept]
        output.table(("NAMESPACE IN STEP", "TABLES", "NOT REGISTERED", "PROBLEM"), rows, "")


def run_test(
    catalog: Catalog,
    table: Annotated[str | None, typer.Option("--table", help="A table to read, such as sales.orders.")] = None,
    metadata: Annotated[
        str | None, typer.Option("--metadata", help="Of a catalog of type files: the location of a table's metadata.")
    ] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Test a catalog: list its namespaces; read a table."""
    query: Query = [(name, value) for name, value in (("table", table), ("metadata", metadata)) if value is not None]
    with connected(server, data_dir, sandbox) as to:
        found = names.find_catalog(to, catalog)
        result = to.get(f"{_path(found['id'])}/test", query)
    if json:
        output.as_json(result)
    elif not result["result"]:
        raise OfftakeError(" ".join(one["message"] for one in result["errors"]))
    elif found["type"] == _FILES and not query:
        shown = output.shell_word(found["name"], found["id"])
        output.line(f"Nothing is tested without a table: offtake catalog test {shown} --metadata LOCATION")
    else:
        _report(result, table or metadata)
    if not result["result"]:
        raise typer.Exit(1)


def _report(result: Json, table: str | None) -> None:
    namespaces = [one["name"] for one in result.get("namespaces", [])]
    more = f" and {len(namespaces) - _SHOWN} more" if len(namespaces) > _SHOWN else ""
    output.line(f"Success: the catalog answers; namespaces: {', '.join(namespaces[:_SHOWN]) or 'none'}{more}")
    if result.get("tableUuid"):
        output.line(f"Table {table} can be read; its UUID is {result['tableUuid']}")


def update(  # noqa: PLR0913, PLR0917 - one parameter an option
    catalog: Catalog,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    properties: Properties = None,
    secret_files: SecretFiles = None,
    secrets: Secrets = None,
    unset: Annotated[list[str] | None, typer.Option("--unset", help="NAME: a property to remove.")] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Change a catalog's name, properties and secrets; what is not named stays."""
    values: Json = dict(catalog_values.read(properties or (), secret_files or (), secrets or ()))
    both = sorted(values.keys() & set(unset or ()))
    if both:
        raise OfftakeError(f"Property {both[0]} is both set and removed: name it once.")
    values |= dict.fromkeys(unset or ())
    if not values and name is None:
        raise OfftakeError("Nothing to change: give --name, --property, --secret, --secret-file or --unset.")
    change = ({} if name is None else {"name": name}) | ({"properties": values} if values else {})
    with connected(server, data_dir, sandbox) as to:
        found = names.find_catalog(to, catalog)
        to.merge(_path(found["id"]), change, found["etag"])
        after = to.get_one(_path(found["id"]))
    if json:
        output.as_json(after)
        return
    shown = output.shell_word(after["name"], after["id"])
    output.line(f"catalog {after['name']} ({after['id']}) is changed; test it: offtake catalog test {shown}")


def remove(
    catalog: Catalog,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Forget a catalog; refused while datasets are registered from it."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find_catalog(to, catalog)
        to.delete(_path(found["id"]))
    if json:
        output.as_json({"id": found["id"], "name": found["name"]})
        return
    output.line(f"catalog {found['name']} ({found['id']}) is removed; nothing was changed in it")


def sync(
    catalog: Catalog,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Compare the catalog's namespaces that are kept in step with the catalog, now and completely."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find_catalog(to, catalog)
        kept = to.get(f"{_path(found['id'])}/keptNamespaces")["items"]
        if not kept:
            raise OfftakeError(
                f"Catalog {found['name']} has no namespace that is kept in step: "
                f"offtake dataset register --catalog {found['name']} --namespace NAME"
            )
        sync_all(to, found["id"], kept, json=json)


def _path(catalog_id: str) -> str:
    return f"{LAKE_CATALOGS}/{quote(catalog_id, safe='')}"
