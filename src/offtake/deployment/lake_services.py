"""The lake of a deployment and the parsers of users' files, opened at their first use."""

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from offtake.deployment.network_settings import network_of
from offtake.deployment.storage_settings import warehouse_access
from offtake.lake.locations import is_local, local_path
from offtake.network.egress import Network
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.vault import Vault

if TYPE_CHECKING:
    from offtake.lake.catalog import Lake
    from offtake.lake.parsers import Parsers
    from offtake.lake.registered import RegisteredTables

    ParsersOf = Callable[[Settings], Parsers]


class LakeServices:
    """Opens each service once. Thread-safe.

    Importing PyIceberg takes a third of the time of most commands, and many commands do not use it.
    """

    def __init__(
        self, settings: Settings, database: Database, vault: Vault, network: Network, parsers_of: "ParsersOf"
    ) -> None:
        self._settings, self._database, self._vault, self._network = settings, database, vault, network
        self._parsers_of = parsers_of
        self._lock = threading.RLock()

    @property
    def lake(self) -> "Lake":
        """The tables of the deployment, created at the first use."""
        with self._lock:
            return self._lake

    @property
    def registered(self) -> "RegisteredTables":
        """The tables of other catalogs."""
        with self._lock:
            return self._registered

    @property
    def parsers(self) -> "Parsers":
        """The processes that parse users' files."""
        with self._lock:
            return self._parsers

    def open(self) -> None:
        """Open all services now. Raises `OfftakeError` for a lake that cannot be used."""
        assert self.registered  # noqa: S101 - opens it
        assert self.lake  # noqa: S101 - opens it
        assert self.parsers  # noqa: S101 - opens them

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for name in ("_parsers", "_lake"):
                if name in self.__dict__:
                    self.__dict__.pop(name).close()

    @cached_property
    def _registered(self) -> "RegisteredTables":
        from offtake.catalog import lake_catalogs  # noqa: PLC0415 - see above
        from offtake.lake.registered import RegisteredTables  # noqa: PLC0415 - see above

        closed = closed_folders(self._settings)
        return RegisteredTables(
            lambda catalog_id: lake_catalogs.find_config(self._database, self._vault, self._network, closed, catalog_id)
        )

    @cached_property
    def _lake(self) -> "Lake":
        from offtake.lake.catalog import Lake  # noqa: PLC0415 - see above

        access = warehouse_access(self._settings, self._network)
        return Lake(self._settings.lake_catalog_url, self._settings.lake_warehouse, self.registered, access)

    @cached_property
    def _parsers(self) -> "Parsers":
        return self._parsers_of(self._settings)


def parser_pool(settings: Settings) -> "Parsers":
    """The processes that parse users' files."""
    from offtake.engines.parser_pool import Limits, ParserPool  # noqa: PLC0415 - see above

    limits = Limits(settings.import_memory_bytes, settings.import_seconds)
    access = warehouse_access(settings, network_of(settings))
    return ParserPool(settings.lake_catalog_url, settings.lake_warehouse, limits, access)


def closed_folders(settings: Settings) -> tuple[str, ...]:
    """The locations of the deployment, which no registered table may name."""
    own = (str(settings.data_dir), str(settings.landing_zone_root))
    placed = (settings.lake_warehouse, settings.uploads_location)
    return tuple(dict.fromkeys((*own, *(str(local_path(one)) if is_local(one) else one for one in placed))))
