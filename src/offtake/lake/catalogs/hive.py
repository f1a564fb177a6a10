"""A Hive Metastore, by PyIceberg, with connections of our own: under the network's rules, one for each call."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from hive_metastore.ThriftHiveMetastore import Client
from hive_metastore.ttypes import NoSuchObjectException
from pyiceberg.catalog import ICEBERG, TABLE_TYPE
from pyiceberg.catalog.hive import HiveCatalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.io import PY_IO_IMPL, FileIO
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TTransportException

from offtake.errors import ACCESS_DENIED, DeliveryError
from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import REFUSING, AccessIO
from offtake.network.egress import Network

Identifier = tuple[str, ...]
_PORT: Final = 9083
_CONNECT_SECONDS: Final = 10.0
_LONGEST_TEXT: Final = 64 * 1024 * 1024
_MOST_ITEMS: Final = 1_000_000
_AT_ONCE: Final = 200
"""Tables of one request: the metastore sends whole descriptions."""


def open_hive(
    name: str, properties: Mapping[str, str], network: Network, access: Callable[[], FileAccess]
) -> HiveCatalog:
    """The catalog; its tables' files are opened by `access`. It connects at the first call."""
    metastore = _Metastore(properties["uri"], properties.get("ugi"), network)

    class Reading(HiveCatalog):
        @staticmethod
        def _create_hive_client(properties: dict[str, str]) -> Any:  # noqa: ANN401, ARG004 - PyIceberg's signature
            return metastore

        def _load_file_io(self, properties: Any = None, location: str | None = None) -> FileIO:  # noqa: ANN401, ARG002 - as above
            return AccessIO(access())

        def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
            """The Iceberg tables of the database; raises `NoSuchNamespaceError`."""
            database = self.identifier_to_database(namespace, NoSuchNamespaceError)
            with metastore as client:
                try:
                    client.get_database(database)
                except NoSuchObjectException:
                    raise NoSuchNamespaceError(f"Database {database} does not exist.") from None
                names = client.get_all_tables(database)
                found = [
                    table
                    for first in range(0, len(names), _AT_ONCE)
                    for table in client.get_table_objects_by_name(database, names[first : first + _AT_ONCE])
                ]
            return [
                (database, one.tableName)
                for one in found
                if (one.parameters or {}).get(TABLE_TYPE, "").lower() == ICEBERG
            ]

    return Reading(name, uri=properties["uri"], **{PY_IO_IMPL: REFUSING})


class _Metastore:
    """Context manager of one connection for each thread's call; yields the client. Raises `TTransportException`."""

    def __init__(self, uri: str, user: str | None, network: Network) -> None:
        split = urlsplit(uri)
        self._host, self._port = split.hostname or "", split.port or _PORT
        self._user, self._network = user, network
        self._call = threading.local()

    def __enter__(self) -> Any:  # noqa: ANN401 - generated code without types
        socket = TSocket()
        socket.setHandle(self._connect())
        self._call.transport = TBufferedTransport(socket)
        limits = {"string_length_limit": _LONGEST_TEXT, "container_length_limit": _MOST_ITEMS}
        client = Client(TBinaryProtocol(self._call.transport, **limits))
        if self._user:
            name, _, group = self._user.partition(":")
            try:
                client.set_ugi(name, [group] if group else [])
            except BaseException:
                self._call.transport.close()
                raise
        return client

    def __exit__(self, *_: object) -> None:
        self._call.transport.close()

    def _connect(self) -> Any:  # noqa: ANN401 - a socket
        try:
            found = self._network.connect(self._host, self._port, _CONNECT_SECONDS)
        except DeliveryError as error:
            if error.kind == ACCESS_DENIED:
                raise LocationError(error.message) from None
            raise TTransportException(TTransportException.NOT_OPEN, error.message) from None
        found.settimeout(self._network.read_timeout)
        return found
