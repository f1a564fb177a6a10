"""A Hive Metastore over a SQL catalog: the Thrift protocol's read side, by the classes that PyIceberg generates."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError


@dataclass
class Metastore:
    """The handler of the calls. `others`: tables that are not Iceberg's. `users`: who has introduced themselves."""

    tables: SqlCatalog
    uri: str = ""
    others: list[str] = field(default_factory=list)
    users: list[tuple[str, list[str]]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    fails: str = ""

    def set_ugi(self, user_name: str, group_names: list[str]) -> list[str]:
        self.users.append((user_name, group_names))
        return group_names

    def get_all_databases(self) -> list[str]:
        self._note("get_all_databases")
        return [one[0] for one in self.tables.list_namespaces()]

    def get_database(self, name: str) -> Any:
        from hive_metastore import ttypes  # noqa: PLC0415 - thrift is an extra

        if not self.tables.namespace_exists(name):
            raise ttypes.NoSuchObjectException(message=name)
        return ttypes.Database(name=name)

    def get_all_tables(self, db_name: str) -> list[str]:
        return [one[-1] for one in self.tables.list_tables(db_name)] + self.others

    def get_table_objects_by_name(self, dbname: str, tbl_names: list[str]) -> list[Any]:
        self._note(f"{len(tbl_names)} tables")
        return [self.get_table(dbname, one) for one in tbl_names]

    def get_table(self, dbname: str, tbl_name: str) -> Any:
        from hive_metastore import ttypes  # noqa: PLC0415 - as above

        if tbl_name in self.others:
            return ttypes.Table(tableName=tbl_name, dbName=dbname, parameters={"numRows": "1"})
        try:
            location = self.tables.load_table((dbname, tbl_name)).metadata_location
        except NoSuchTableError:
            raise ttypes.NoSuchObjectException(message=tbl_name) from None
        parameters = {"table_type": "ICEBERG", "metadata_location": location}
        return ttypes.Table(tableName=tbl_name, dbName=dbname, parameters=parameters)

    def _note(self, call: str) -> None:
        from hive_metastore import ttypes  # noqa: PLC0415 - as above

        self.calls.append(call)
        if self.fails:
            raise ttypes.MetaException(message=self.fails)


@contextmanager
def hive_metastore(tables: SqlCatalog) -> Iterator[Metastore]:
    """The metastore on a port of its own. Skips the test without thrift."""
    pytest.importorskip("thrift")
    from hive_metastore.ThriftHiveMetastore import Processor  # noqa: PLC0415 - as above
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol  # noqa: PLC0415 - as above
    from thrift.transport.TSocket import TSocket  # noqa: PLC0415 - as above
    from thrift.transport.TTransport import TBufferedTransport, TTransportException  # noqa: PLC0415 - as above

    found = Metastore(tables)
    processor = Processor(found)
    serving: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        handle = TSocket()
        handle.setHandle(connection)
        protocol = TBinaryProtocol(TBufferedTransport(handle))
        try:
            while True:
                processor.process(protocol, protocol)
        except (TTransportException, OSError):
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            serving.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            serving[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.uri = f"thrift://127.0.0.1:{listener.getsockname()[1]}"
        threading.Thread(target=accept, daemon=True).start()
        yield found
    for one in serving:
        one.join(5)
