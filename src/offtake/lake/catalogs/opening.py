"""Opens a configured catalog for reading its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.table import Table
from sqlalchemy import make_url

from offtake.errors import DATASET_GONE, EXPORT_FAILED, DeliveryError
from offtake.lake.catalogs import declarations, metadata_cache
from offtake.lake.catalogs.declarations import TypeName
from offtake.lake.catalogs.lending import access_for
from offtake.lake.locations import LocationError
from offtake.lake.storage import files
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import REFUSING, AccessIO
from offtake.network.egress import Network

Identifier = tuple[str, ...]


@dataclass(frozen=True)
class CatalogConfig:
    """A catalog as it was added. `closed`: folders of this deployment, which its tables may not name."""

    id: str
    name: str
    type: TypeName
    properties: Mapping[str, str] = field(repr=False)
    network: Network = field(default_factory=Network, repr=False)
    closed: tuple[str, ...] = ()


class OpenCatalog(Protocol):
    """A catalog whose tables can be read."""

    def load(self, identifier: Identifier) -> Table:
        """The table in its current state. Raises `NoSuchTableError` and the errors of the catalog's client."""
        ...

    def namespaces(self, parent: Identifier = ()) -> list[Identifier]:
        """The namespaces in `parent`."""
        ...

    def tables(self, namespace: Identifier) -> list[Identifier]:
        """The tables of the namespace."""
        ...

    def is_view(self, identifier: Identifier) -> bool:
        """Whether it is the name of a view."""
        ...


def open_catalog(config: CatalogConfig) -> OpenCatalog:
    """Open the catalog. Raises the errors of its client."""
    opener = {"rest": _rest, "glue": _glue, "hive": _hive, "sql": _sql, "files": _Files}[config.type]
    return opener(config)


@dataclass(frozen=True)
class _ByPyIceberg:
    catalog: Catalog

    def load(self, identifier: Identifier) -> Table:
        return self.catalog.load_table(identifier)

    def namespaces(self, parent: Identifier = ()) -> list[Identifier]:
        return self.catalog.list_namespaces(parent)

    def tables(self, namespace: Identifier) -> list[Identifier]:
        return self.catalog.list_tables(namespace)

    def is_view(self, identifier: Identifier) -> bool:
        return self.catalog.view_exists(identifier)


def _access(config: CatalogConfig, said: Mapping[str, str]) -> FileAccess:
    folders = declarations.find_type(config.type).has_folders
    return access_for(config.properties, said, config.network, config.closed, folders=folders)


def _rest(config: CatalogConfig) -> OpenCatalog:
    from offtake.lake.catalogs.rest import ReadingRestCatalog  # noqa: PLC0415 - `requests` is slow to import

    return _ByPyIceberg(ReadingRestCatalog(config.name, config.properties, config.network, partial(_access, config)))


def _sql(config: CatalogConfig) -> OpenCatalog:
    class Reading(SqlCatalog):
        def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
            # PyIceberg's own opens the metadata with the environment's credentials.
            identifier = (*self.identifier_to_tuple(orm_table.table_namespace), orm_table.table_name)
            return _table_at(orm_table.metadata_location, identifier, _access(config, {}), self)

    _check_database(config.properties["uri"])
    properties = {"uri": config.properties["uri"], "init_catalog_tables": "false", PY_IO_IMPL: REFUSING}
    return _ByPyIceberg(Reading(config.properties.get("catalog-name", config.name), **properties))


def _check_database(uri: str) -> None:
    """Raise `LocationError` for an SQLite file that does not exist: opening it would create it."""
    url = make_url(uri)
    missing = url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file()
    if missing and not url.query.get("uri"):
        raise LocationError(f"The database {url.database} of the catalog does not exist. Correct uri.")


def _glue(config: CatalogConfig) -> OpenCatalog:
    try:
        from offtake.lake.catalogs.glue import open_glue  # noqa: PLC0415 - boto3 is an extra, and slow to import
    except ModuleNotFoundError:
        message = "Catalogs of type glue need boto3, which is not installed."
        raise DeliveryError(EXPORT_FAILED, message, "Install offtake[glue].") from None

    return _ByPyIceberg(open_glue(config.name, config.properties, config.network, partial(_access, config, {})))


def _hive(config: CatalogConfig) -> OpenCatalog:
    try:
        from offtake.lake.catalogs.hive import open_hive  # noqa: PLC0415 - thrift is an extra
    except ModuleNotFoundError:
        message = "Catalogs of type hive need thrift, which is not installed."
        raise DeliveryError(EXPORT_FAILED, message, "Install offtake[hive].") from None

    return _ByPyIceberg(open_hive(config.name, config.properties, config.network, partial(_access, config, {})))


@dataclass(frozen=True)
class _Files:
    """Tables that are named by the location of their metadata, or of their folder with `version-hint.text`."""

    config: CatalogConfig

    def load(self, identifier: Identifier) -> Table:
        access = _access(self.config, {})
        location = _metadata_location(identifier[-1], access)
        if not files.exists(location, access):
            raise NoSuchTableError(f"There is no metadata file {location}.")
        return _table_at(location, identifier, access, NoopCatalog(self.config.name))

    def namespaces(self, parent: Identifier = ()) -> list[Identifier]:  # noqa: ARG002 - the protocol's signature
        access = _access(self.config, {})
        if access.folder is not None and not Path(access.folder).is_dir():
            raise LocationError(f"The folder {access.folder} does not exist. Correct warehouse.")
        return []

    def tables(self, namespace: Identifier) -> list[Identifier]:  # noqa: ARG002 - as above
        return []

    def is_view(self, identifier: Identifier) -> bool:  # noqa: ARG002 - as above
        return False


def _table_at(location: str | None, identifier: Identifier, access: FileAccess, catalog: Catalog) -> Table:
    if not location:
        raise NoSuchTableError(f"The catalog has no metadata of {'.'.join(identifier)}.")
    return Table(identifier, metadata_cache.read(location, access), location, AccessIO(access), catalog)


def _metadata_location(location: str, access: FileAccess) -> str:
    """The metadata file of a folder with `metadata/version-hint.text`, as Hadoop's catalog writes it."""
    if location.endswith((".json", ".json.gz")):
        return location
    folder = location.rstrip("/")
    try:
        hint = files.read_whole(f"{folder}/metadata/version-hint.text", access).decode().strip()
    except FileNotFoundError:
        raise DeliveryError(
            DATASET_GONE,
            f"The folder {folder} has no metadata/version-hint.text, which would name the current metadata file.",
            "Name a file of its folder metadata, such as 00012-….metadata.json; or correct the folder.",
        ) from None
    name = f"v{hint}.metadata.json" if hint.isdecimal() else hint
    return f"{location.rstrip('/')}/metadata/{name}"
