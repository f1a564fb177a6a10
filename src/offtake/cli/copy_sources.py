"""The sources of a copy: files are imported, tables of a data directory or of a catalog are read where they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from offtake.access import access
from offtake.catalog import file_import, lake_catalogs
from offtake.catalog.file_import import ImportRequest
from offtake.cli.copy_request import CopyRequest, describe_file, is_file_source
from offtake.cli.local import operating
from offtake.client import names
from offtake.client.server import CATALOG, Server
from offtake.deployment.backend import Backend
from offtake.errors import OfftakeError
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.locations import is_local, local_path
from offtake.lake.table_names import FILES, TableName
from offtake.lake.table_names import parse as parse_table
from offtake.store.tables import Dataset, LakeCatalog


@dataclass(frozen=True)
class TableSource:
    """A table, and the catalog that it is read from. `table`: its name, or the location of its metadata."""

    name: str
    catalog_type: str
    properties: Mapping[str, str]
    table: str | tuple[str, ...]

    def registration(self) -> dict[str, object]:
        """The body that registers it."""
        if isinstance(self.table, str):
            return {"name": self.name, "metadata": self.table}
        return {"name": self.name, "table": list(self.table)}


@dataclass(frozen=True)
class Sources:
    """The files, which become one dataset, and the tables."""

    files: tuple[Path, ...]
    tables: tuple[TableSource, ...]
    descriptions: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of datasets."""
        return bool(self.files) + len(self.tables)


def find_sources(request: CopyRequest) -> Sources:
    """Find what is to be copied. Raises `OfftakeError` for a source that does not exist."""
    files = [one for one in request.sources if is_file_source(one)]
    descriptions = [describe_file(one) for one in files]
    tables = []
    for source in request.sources:
        kind, _, rest = source.partition(":")
        if not is_file_source(source):
            found = _dataset(request, rest) if kind == "dataset" else _table(request, rest)
            tables.append(found)
            descriptions.append(f"{source} {found.table}")
    return Sources(tuple(map(Path, files)), tuple(tables), tuple(descriptions))


def _dataset(request: CopyRequest, name: str) -> TableSource:
    """A dataset of the data directory, in its current state."""
    from offtake.api.in_process import InProcess  # noqa: PLC0415 - only for this kind of source

    with operating(request.data_dir, request.sandbox) as (backend, _):
        with Server(InProcess(backend, request.sandbox)) as server:
            found = names.find_dataset(server, name)
        with backend.database.reading() as session:
            address = TableName(session.get_one(Dataset, found["id"]).table_name)
        registered = parse_table(address)
        if registered is not None:
            config = _config(backend, registered.catalog_id)
            return _source(found["name"], config, registered.identifier)
        location = backend.lake.load(address).metadata_location
        if not is_local(location):
            raise OfftakeError(
                f"Dataset {found['name']} is stored in an object store, and cannot be copied yet. Make a flow for it."
            )
        # The folder that the table's metadata and data files are in.
        folder = local_path(location).parent.parent
        return TableSource(found["name"], FILES, {"warehouse": str(folder)}, location)


def _table(request: CopyRequest, text: str) -> TableSource:
    """A table of a catalog that the data directory knows."""
    name, slash, table = text.partition("/")
    if not slash or not table:
        raise OfftakeError(f"catalog:{text[:100]}: give catalog:NAME/TABLE, such as catalog:lakehouse/sales.orders.")
    with operating(request.data_dir, request.sandbox) as (backend, caller):
        with backend.database.reading() as session:
            catalog_id = lake_catalogs.find(session, caller, name).id
        config = _config(backend, catalog_id)
        identifier = (FILES, table) if config.type == FILES else tuple(table.split("."))
        return _source(table.rpartition("/")[2], config, identifier)


def _source(name: str, config: CatalogConfig, identifier: Sequence[str]) -> TableSource:
    table = identifier[1] if config.type == FILES else tuple(identifier)
    return TableSource(name, config.type, config.properties, table)


def _config(backend: Backend, catalog_id: str) -> CatalogConfig:
    with backend.database.reading() as session:
        row = session.get_one(LakeCatalog, catalog_id)
        return lake_catalogs.config_of(row, backend.vault, backend.network, backend.closed_folders)


def take_in(backend: Backend, server: Server, request: CopyRequest, sources: Sources) -> list[str]:
    """Import the files and register the tables; the ids of their datasets. Raises `OfftakeError`."""
    found = []
    if sources.files:
        name = sources.files[0].name.partition(".")[0] or "files"
        wanted = ImportRequest(name[:200], sources.files, request.files.options)
        caller = access.operator_caller(backend.database)
        done = file_import.import_files(backend.database, backend.lake, backend.parsers, caller, backend.clock, wanted)
        found.append(done.dataset.id)
    for number, one in enumerate(sources.tables):
        body = {"name": f"source {number}", "type": one.catalog_type, "properties": dict(one.properties)}
        catalog_id = server.post(f"{CATALOG}/lakeCatalogs", body)["id"]
        made = server.post(f"{CATALOG}/lakeCatalogs/{quote(catalog_id)}/dataSets", one.registration())
        found.append(str(made[0]).rpartition("/")[2])
    return found
