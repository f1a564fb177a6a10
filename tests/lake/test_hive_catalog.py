"""A Hive Metastore: what is listed, what is refused, and how its errors are reported."""

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from offtake.errors import DATASET_GONE, EXPORT_FAILED, SOURCE_UNAVAILABLE, DeliveryCode, DeliveryError
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.registered import RegisteredTables
from offtake.network.egress import Network
from tests.hive_metastore_server import Metastore, hive_metastore

SCHEMA = pa.schema([("id", pa.int64())])


@pytest.fixture
def metastore(tmp_path: Path) -> Iterator[Metastore]:
    writer = SqlCatalog("foreign", uri=f"sqlite:///{tmp_path / 'foreign.db'}", warehouse=f"file://{tmp_path}/lake")
    writer.create_namespace("sales")
    writer.create_table(("sales", "orders"), SCHEMA)
    with hive_metastore(writer) as found:
        yield found


def tables(uri: str, network: Network | None = None) -> RegisteredTables:
    config = CatalogConfig("1", "hive", "hive", {"uri": uri, "ugi": "reader:readers"}, network or Network())
    return RegisteredTables(lambda _id: config)


def refusal(found: RegisteredTables, *identifier: str) -> tuple[DeliveryCode, str]:
    with pytest.raises(DeliveryError) as raised:
        _ = found.find_uuid("1", identifier) if len(identifier) > 1 else found.tables("1", identifier)
    return raised.value.kind, str(raised.value)


def test_iceberg_tables_are_listed_in_bounded_requests(metastore: Metastore) -> None:
    metastore.others = [f"legacy_{number}" for number in range(450)]
    found = tables(metastore.uri)
    assert found.namespaces("1") == [("sales",)]
    assert found.namespaces("1", ("sales",)) == []
    assert found.tables("1", ("sales",)) == [("sales", "orders")]
    assert metastore.calls == ["get_all_databases", "200 tables", "200 tables", "51 tables"]
    assert set(map(str, metastore.users)) == {str(("reader", ["readers"]))}


def test_threads_do_not_share_a_connection(metastore: Metastore) -> None:
    found = tables(metastore.uri)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(found.tables("1", ("sales",)))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == [[("sales", "orders")]] * 8


def test_what_is_wrong_is_reported_in_one_sentence(metastore: Metastore) -> None:
    metastore.others = ["legacy"]
    found = tables(metastore.uri)
    assert refusal(found, "slaes") == (DATASET_GONE, "Catalog hive has no namespace for slaes. Correct the name.")
    kind, message = refusal(found, "sales", "nothing")
    assert (kind, "has no table sales.nothing" in message) == (DATASET_GONE, True)
    kind, message = refusal(found, "sales", "legacy")
    assert (kind, "is not an Iceberg table" in message) == (EXPORT_FAILED, True)
    metastore.fails = "the database behind it is down"
    with pytest.raises(DeliveryError, match="refuses the request: the database behind it is down"):
        found.namespaces("1")
    kind, message = refusal(found, "sales")
    assert (kind, "refuses the request" in message) == (EXPORT_FAILED, True)


def test_a_metastore_that_is_away_or_denied(metastore: Metastore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    kind, message = refusal(tables(f"thrift://127.0.0.1:{free}"), "sales")
    assert (kind, "could not be reached" in message) == (SOURCE_UNAVAILABLE, True)
    kind, message = refusal(tables(metastore.uri, Network(multi_user=True)), "sales")
    assert (kind, "network rules deny" in message) == (EXPORT_FAILED, True)


def test_a_server_that_does_not_speak_the_protocol_is_refused_in_time(metastore: Metastore) -> None:
    del metastore  # thrift is there
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            for content in (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20, b""):
                connection, _ = listener.accept()
                connection.sendall(content)
                if content:
                    connection.close()
                else:
                    held.append(connection)

        held: list[socket.socket] = []
        threading.Thread(target=answer, daemon=True).start()
        kind, _ = refusal(tables(f"thrift://127.0.0.1:{port}"), "sales")
        assert kind in (EXPORT_FAILED, SOURCE_UNAVAILABLE)
        kind, message = refusal(tables(f"thrift://127.0.0.1:{port}", Network(read_timeout=0.3)), "sales")
        assert (kind, "Catalog hive cannot be read at present" in message) == (SOURCE_UNAVAILABLE, True)
        for one in held:
            one.close()


def test_without_its_driver_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "offtake.lake.catalogs.hive", None)
    assert "Install offtake[hive]" in refusal(tables("thrift://127.0.0.1:9"), "sales")[1]
