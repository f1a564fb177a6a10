"""Registered tables: those of other catalogs, which are read and never written."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from offtake.errors import DATASET_GONE, DeliveryError
from offtake.lake import manifest_files, metadata_errors
from offtake.lake.catalogs.errors import translating_errors
from offtake.lake.catalogs.opening import CatalogConfig, Identifier, OpenCatalog, open_catalog
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import AccessIO, access_of
from offtake.lake.table_names import RegisteredTable, write_identifier

ConfigOf = Callable[[str], CatalogConfig | None]
"""The configuration of a catalog by its id; None when it was removed."""


@dataclass(frozen=True)
class _Opened:
    config: CatalogConfig
    catalog: OpenCatalog


@dataclass(frozen=True)
class CheckedCatalog:
    """Why a catalog or a table cannot be used, else what it answered. `uuid`: of the table that was read."""

    refusal: DeliveryError | None
    namespaces: Sequence[Identifier] = ()
    uuid: str | None = None


class RegisteredTables:
    """The tables of other catalogs. Thread-safe; a catalog is opened once for each version of its configuration."""

    def __init__(self, config_of: ConfigOf = lambda _catalog_id: None) -> None:
        self._config_of = config_of
        self._lock = threading.Lock()
        self._opened: dict[str, _Opened] = {}

    def load(self, table: RegisteredTable) -> Table:
        """The table in its current state.

        Raises `DeliveryError` when the catalog was removed or cannot be read, and when the table does not exist or is
        another one than the one registered.
        """
        config = self._find_config(table.catalog_id, str(table))
        found = self._load(config, table.identifier)
        if str(found.metadata.table_uuid) != table.uuid:
            raise DeliveryError(
                DATASET_GONE,
                f"Table {table} of catalog {config.name} was dropped and made again: it is another table than the one "
                "registered.",
                "Register it as a new dataset, and export that one.",
            )
        return _renewing(found, config, table.identifier)

    def find_uuid(self, catalog_id: str, identifier: Identifier) -> str:
        """The UUID of a table, to register it. Raises `DeliveryError` when it or its files cannot be read."""
        config = self._find_config(catalog_id, write_identifier(identifier))
        found = self._load(config, identifier)
        _check_files(config, found)
        return str(found.metadata.table_uuid)

    def namespaces(self, catalog_id: str, parent: Identifier = ()) -> list[Identifier]:
        """The namespaces in `parent`, which also tests the catalog. Raises `DeliveryError`."""
        config = self._find_config(catalog_id, "")
        with translating_errors(config, ".".join(parent)):
            return self._open(config).namespaces(parent)

    def tables(self, catalog_id: str, namespace: Identifier) -> list[Identifier]:
        """The tables of the namespace, in any order. Raises `DeliveryError`; `DATASET_GONE` without the namespace."""
        config = self._find_config(catalog_id, "")
        with translating_errors(config, ".".join(namespace)):
            return self._open(config).tables(namespace)

    def check(self, config: CatalogConfig, identifier: Identifier | None = None) -> CheckedCatalog:
        """Whether a catalog that may not be stored yet can be used, and the table be read."""
        try:
            with translating_errors(config, write_identifier(identifier or ("",))):
                opened = open_catalog(config)
                namespaces = opened.namespaces()
            uuid = None
            if identifier is not None:
                table = _read(config, opened, identifier)
                _check_files(config, table)
                uuid = str(table.metadata.table_uuid)
        except DeliveryError as error:
            return CheckedCatalog(error)
        return CheckedCatalog(None, sorted(set(namespaces)), uuid)

    def _find_config(self, catalog_id: str, table: str) -> CatalogConfig:
        config = self._config_of(catalog_id)
        if config is None:
            raise DeliveryError(
                DATASET_GONE,
                f"The catalog of table {table} was removed.",
                "Add the catalog and register the table again, or remove the dataset from the flow.",
            )
        return config

    def _load(self, config: CatalogConfig, identifier: Identifier) -> Table:
        with translating_errors(config, write_identifier(identifier)):
            opened = self._open(config)
        return _read(config, opened, identifier)

    def _open(self, config: CatalogConfig) -> OpenCatalog:
        with self._lock:
            known = self._opened.get(config.id)
        if known is not None and known.config == config:
            return known.catalog
        catalog = open_catalog(config)
        with self._lock:
            self._opened[config.id] = _Opened(config, catalog)
        return catalog


def _read(config: CatalogConfig, opened: OpenCatalog, identifier: Identifier) -> Table:
    name = write_identifier(identifier)
    with translating_errors(config, name):
        try:
            return opened.load(identifier)
        except NoSuchTableError:
            if _is_view(opened, identifier):
                raise DeliveryError(
                    DATASET_GONE,
                    f"{name} of catalog {config.name} is a view, which has no files.",
                    "Register a table; a view's result can be written to one.",
                ) from None
            raise DeliveryError(
                DATASET_GONE,
                f"Catalog {config.name} has no table {name}.",
                "Correct the name, or create the table there; a dropped table's dataset can be deleted.",
            ) from None


def _check_files(config: CatalogConfig, table: Table) -> None:
    """Read the list of the table's files: a catalog can send metadata although its files cannot be read."""
    name = write_identifier(table.name())
    snapshot = table.current_snapshot()
    with translating_errors(config, name), metadata_errors.translating_errors(name):
        if snapshot is not None:
            manifest_files.read_list(snapshot, table.io)


def _is_view(opened: OpenCatalog, identifier: Identifier) -> bool:
    """Whether there is a view with that name. A catalog without views, or that does not tell, has none."""
    try:
        return opened.is_view(identifier)
    except Exception:  # noqa: BLE001 - only the text of an error depends on it
        return False


def _renewing(table: Table, config: CatalogConfig, identifier: Identifier) -> Table:
    """The table, whose lent credentials are asked for again before they expire."""
    access = access_of(table)
    if access is not None and access.expires_ms is not None:
        table.io = AccessIO(replace(access, renewal=partial(_lend_again, config, identifier)))
    return table


def _lend_again(config: CatalogConfig, identifier: Identifier) -> FileAccess:
    """The access with new credentials. In worker processes too."""
    with translating_errors(config, write_identifier(identifier)):
        table = _renewing(open_catalog(config).load(identifier), config, identifier)
    access = access_of(table)
    if access is None:
        raise TypeError("a table of a catalog has an access")
    return access
