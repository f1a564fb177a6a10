"""The command `offtake dataset register`."""

from typing import Annotated, Final
from urllib.parse import quote

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.namespaces import sync_all
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.client import names
from offtake.client.server import LAKE_CATALOGS
from offtake.errors import OfftakeError

_FILES: Final = "files"


def register(  # noqa: PLR0913, PLR0917 - one parameter an option
    catalog: Annotated[
        str, typer.Option("--catalog", help="The catalog's name or id.", autocompletion=names_of("catalogs"))
    ],
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
    server: ToServer = None,
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
    with connected(server, data_dir, sandbox) as to:
        found = names.find_catalog(to, catalog)
        path = f"{LAKE_CATALOGS}/{quote(found['id'], safe='')}"
        is_files = found["type"] == _FILES
        if is_files != (metadata is not None):
            how = "--metadata" if is_files else "--table"
            raise OfftakeError(f"Catalog {found['name']} is of type {found['type']}: name the table with {how}.")
        if namespace is not None:
            kept = to.post(f"{path}/keptNamespaces", {"namespace": namespace})["items"]
            sync_all(to, found["id"], kept, json=json)
            return
        named = {"metadata": metadata} if is_files else {"table": table}
        (made,) = to.post(f"{path}/dataSets", {"name": name} | named)
        dataset_id = made.rpartition("/")[2]
    where = str(table or metadata)
    if json:
        output.as_json({"id": dataset_id, "name": name, "catalog": found["name"], "table": where})
        return
    output.line(f"table {where} of catalog {found['name']} is registered as dataset {name} ({dataset_id})")
