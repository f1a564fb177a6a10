"""Registered tables: those of other catalogs, which are read and never written."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from offtake.errors import DATASET_GONE, DeliveryError
from offtake.lake import metadata_errors
from offtake.lake.catalogs.errors import translating_errors
from offtake.lake.catalogs.opening import CatalogConfig, Identifier, OpenCatalog, open_catalog
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import AccessIO, access_of
from offtake.lake.table_names import RegisteredTable

ConfigOf = Callable[[str], CatalogConfig | None]
"""The configuration of a catalog by its id; None when it was removed."""


@dataclass(frozen=True)
class _Opened:
    config: CatalogConfig
    catalog: OpenCatalog


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
        """The UUID of a table, to register it. Raises `DeliveryError` when it cannot be read."""
        config = self._find_config(catalog_id, ".".join(identifier))
        with metadata_errors.translating_errors(".".join(identifier)):
            return str(self._load(config, identifier).metadata.table_uuid)

    def namespaces(self, catalog_id: str) -> list[Identifier]:
        """The catalog's first namespaces, which also tests the catalog. Raises `DeliveryError`."""
        config = self._find_config(catalog_id, "")
        with translating_errors(config):
            return self._open(config).namespaces()

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
        with translating_errors(config, ".".join(identifier)):
            try:
                return self._open(config).load(identifier)
            except NoSuchTableError:
                raise DeliveryError(
                    DATASET_GONE,
                    f"Catalog {config.name} has no table {'.'.join(identifier)}.",
                    "Correct the name, or create the table there; a dropped table's dataset can be deleted.",
                ) from None

    def _open(self, config: CatalogConfig) -> OpenCatalog:
        with self._lock:
            known = self._opened.get(config.id)
        if known is not None and known.config == config:
            return known.catalog
        catalog = open_catalog(config)
        with self._lock:
            self._opened[config.id] = _Opened(config, catalog)
        return catalog


def _renewing(table: Table, config: CatalogConfig, identifier: Identifier) -> Table:
    """The table, whose lent credentials are asked for again before they expire."""
    access = access_of(table)
    if access is not None and access.expires_ms is not None:
        table.io = AccessIO(replace(access, renewal=partial(_lend_again, config, identifier)))
    return table


def _lend_again(config: CatalogConfig, identifier: Identifier) -> FileAccess:
    """The access with new credentials. In worker processes too."""
    with translating_errors(config, ".".join(identifier)):
        table = _renewing(open_catalog(config).load(identifier), config, identifier)
    access = access_of(table)
    if access is None:
        raise TypeError("a table of a catalog has an access")
    return access
