"""A table and a catalog decide nothing about where Offtake connects, what it reads, or with which credentials."""

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from offtake.errors import DeliveryError
from offtake.lake import reading, scan, slicing
from offtake.lake.catalogs import lending
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.registered import RegisteredTables
from offtake.lake.storage import stores
from offtake.lake.storage.iceberg_io import ReadOnlyError
from offtake.lake.table_names import RegisteredTable, TableName
from offtake.network.egress import Network
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.servers import Amazon, amazon

SCHEMA = pa.schema([("id", pa.int64())])
BUCKET = "lakehouse"


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield found


@pytest.fixture
def keys(store: Amazon) -> dict[str, str]:
    return {
        "s3.endpoint": store.endpoint,
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
    }


@pytest.fixture
def writer(store: Amazon, keys: dict[str, str], tmp_path: Path) -> SqlCatalog:
    del store
    url = f"sqlite:///{tmp_path / 'foreign.db'}"
    found = SqlCatalog(
        "foreign", uri=url, warehouse=f"s3://{BUCKET}/{tmp_path.name}", **keys, **{"s3.region": "us-east-1"}
    )
    found.create_namespace("sales")
    return found


@pytest.fixture
def server(writer: SqlCatalog) -> Iterator[RestCatalogServer]:
    with rest_catalog(writer) as found:
        yield found


class _Attacker(http.server.BaseHTTPRequestHandler):
    """Remembers who asks, and what for."""

    seen: list[str]

    def _answer(self) -> None:
        self.server.seen.append(f"{self.command} {self.path} {self.headers.get('authorization', '')}")  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815 - the base class's names

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def attacker() -> Iterator[tuple[str, list[str]]]:
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Attacker)
    found.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{found.server_port}", found.seen  # type: ignore[attr-defined]
    finally:
        found.shutdown()
        found.server_close()


def tables_of(
    server: RestCatalogServer, properties: Mapping[str, str] = MappingProxyType({}), closed: tuple[str, ...] = ()
) -> RegisteredTables:
    """The registered tables of the server's catalog."""
    given = {"uri": server.origin, "credential": ":".join(CLIENT), **properties}
    config = CatalogConfig("1", "lakehouse", "rest", given, Network(), closed)
    return RegisteredTables(lambda _id: config)


def read(tables: RegisteredTables, name: str = "orders") -> int:
    """The number of rows that an export of the whole table would deliver."""
    uuid = tables.find_uuid("1", ("sales", name))
    table = tables.load(RegisteredTable("1", ("sales", name), uuid))
    found = scan.TableScan(TableName(name), table)
    snapshot = found.current_snapshot
    assert snapshot is not None
    plan = found.full(snapshot)
    pieces = [one for part in slicing.slices(plan.files, 2**62, 2**62, found.access) for one in part]
    return sum(batch.num_rows for batch in reading.read(pieces, found.schema(snapshot), found.access))


def test_what_a_catalog_says_about_addresses_code_and_keys_is_not_used(
    server: RestCatalogServer, writer: SqlCatalog, keys: dict[str, str]
) -> None:
    writer.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1, 2, 3]}))
    with attacker() as (origin, seen):
        hostile = {
            "uri": origin,
            "oauth2-server-uri": f"{origin}/token",
            "s3.endpoint": origin,
            "s3.proxy-uri": origin,
            "s3.signer": "S3V4RestSigner",
            "s3.signer.uri": origin,
            "py-io-impl": "tests.attacks.test_hostile_catalogs.Stolen",
            "py-catalog-impl": "tests.attacks.test_hostile_catalogs.Stolen",
            "header.X-Stolen": "yes",
            "ssl": "x",
            "auth": "x",
            "rest.sigv4-enabled": "true",
            "warehouse": "s3://elsewhere",
        }
        server.config = {"defaults": hostile, "overrides": hostile}
        server.table_config = {name: value for name, value in hostile.items() if not name.startswith("s3.signer")}
        assert read(tables_of(server, keys)) == 3
        assert seen == []


@pytest.mark.parametrize("region", ["x.attacker.example/", "attacker.example#", "eu-west-1.attacker.example"])
def test_a_region_does_not_become_another_host(region: str) -> None:
    keys = {"s3.access-key-id": "a", "s3.secret-access-key": "b"}
    access = lending.access_for(keys, {"s3.region": region, "client.region": region}, Network(), ())
    assert region not in access.properties.values()


def test_what_a_table_says_about_itself_is_not_used(
    server: RestCatalogServer, writer: SqlCatalog, keys: dict[str, str]
) -> None:
    with attacker() as (origin, seen):
        writer.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1, 2]}))
        hostile = server.document(("sales", "orders"))
        hostile["metadata"]["properties"] |= {
            "s3.endpoint": origin,
            "s3.access-key-id": "other",
            "py-io-impl": "tests.attacks.test_hostile_catalogs.Stolen",
            "write.data.path": origin,
        }
        server.answer = hostile
        assert read(tables_of(server, keys)) == 2
        assert seen == []


class Stolen:
    """What a hostile name of a class would load."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise AssertionError("code that a catalog names was run")


@pytest.mark.parametrize("where", ["this machine", "own folder", "another store", "relative"])
def test_files_that_are_elsewhere_are_refused(
    server: RestCatalogServer, writer: SqlCatalog, keys: dict[str, str], tmp_path: Path, where: str
) -> None:
    table = writer.create_table(("sales", "orders"), SCHEMA)
    secret = tmp_path / "own" / "secret.parquet"
    secret.parent.mkdir()
    pq.write_table(pa.table({"id": [7]}, schema=SCHEMA), secret)
    location = {
        "this machine": f"file://{secret}",
        "own folder": str(secret),
        "another store": "gs://bucket/secret.parquet",
        "relative": "secret.parquet",
    }[where]
    table.append(pa.table({"id": [1]}))
    hostile = server.document(("sales", "orders"))
    # The metadata is the server's: its snapshot names a manifest list elsewhere.
    hostile["metadata"]["snapshots"][0]["manifest-list"] = location
    server.answer = hostile
    with pytest.raises(DeliveryError) as refused:
        read(tables_of(server, keys, (str(secret.parent),)))
    assert "not in the store of its catalog" in str(refused.value) or "does not name a file" in str(refused.value)


def test_a_link_does_not_lead_out_of_the_folder_and_the_own_folders_are_closed(tmp_path: Path) -> None:
    folder, own = tmp_path / "lakehouse", tmp_path / "lakehouse" / "own"
    own.mkdir(parents=True)
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (folder / "link.metadata.json").symlink_to(outside)
    (own / "x.metadata.json").write_text("{}")
    config = CatalogConfig("1", "files", "files", {"warehouse": str(folder)}, Network(), (str(own),))
    tables = RegisteredTables(lambda _id: config)
    for location, problem in (
        (f"{folder}/link.metadata.json", "outside of the catalog's folder"),
        (f"{folder}/../outside.json", "outside of the catalog's folder"),
        (f"{own}/x.metadata.json", "in a folder of this deployment"),
        ("s3://bucket/x.metadata.json", "not in the store of its catalog"),
    ):
        with pytest.raises(DeliveryError, match=problem):
            tables.find_uuid("1", ("files", location))


def test_a_redirect_and_an_endless_answer_are_refused(
    server: RestCatalogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fails = 302
    with pytest.raises(DeliveryError, match="answers with a redirect"):
        tables_of(server).namespaces("1")
    server.fails = None
    monkeypatch.setattr("offtake.lake.catalogs.rest._LARGEST", 100)
    server.config = {"defaults": {"x": "y" * 1000}, "overrides": {}}
    with pytest.raises(DeliveryError, match="larger than"):
        tables_of(server).namespaces("1")


@pytest.mark.parametrize(
    ("status", "transient", "words"),
    [
        (401, False, "refuses access"),
        (403, False, "refuses access"),
        (500, True, "at present"),
        (503, True, "at present"),
        (429, True, "at present"),
    ],
)
def test_a_catalog_that_refuses_is_distinguished_from_one_that_is_away(
    server: RestCatalogServer, status: int, transient: bool, words: str
) -> None:
    tables = tables_of(server)
    tables.namespaces("1")
    server.fails = status
    with pytest.raises(DeliveryError, match=words) as failed:
        tables.namespaces("1")
    assert failed.value.transient is transient
    assert CLIENT[1] not in str(failed.value)


def test_a_catalog_that_does_not_answer_is_away(server: RestCatalogServer) -> None:
    gone = CatalogConfig("1", "gone", "rest", {"uri": "http://127.0.0.1:1/", "token": "x"}, Network())
    with pytest.raises(DeliveryError, match="Catalog gone cannot be read at present") as failed:
        RegisteredTables(lambda _id: gone).namespaces("1")
    assert failed.value.transient
    del server


def test_addresses_that_the_network_denies_are_not_reached(server: RestCatalogServer) -> None:
    config = CatalogConfig("1", "inside", "rest", {"uri": server.origin, "token": "x"}, Network(multi_user=True))
    with pytest.raises(DeliveryError):
        RegisteredTables(lambda _id: config).namespaces("1")
    assert server.seen == []


def test_lent_credentials_are_used_and_asked_for_again_before_they_expire(
    server: RestCatalogServer, writer: SqlCatalog, store: Amazon
) -> None:
    writer.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1, 2, 3]}))
    access_key, secret = store.user("lent", ["s3:GetObject"])
    config = {"s3.access-key-id": access_key, "s3.secret-access-key": secret, "s3.session-token-expires-at-ms": "1000"}
    server.lent = [{"prefix": f"s3://{BUCKET}/", "config": config}]
    tables = tables_of(server, {"s3.endpoint": store.endpoint})
    before = server.seen.count("GET /v1/namespaces/sales/tables/orders")
    assert read(tables) == 3
    # Each file that is opened with credentials that have expired asks for new ones.
    assert server.seen.count("GET /v1/namespaces/sales/tables/orders") > before + 2
    server.lent = []
    with pytest.raises(DeliveryError, match="no credentials"):
        read(tables)


def test_remote_signing_is_refused_by_name(server: RestCatalogServer, writer: SqlCatalog, store: Amazon) -> None:
    writer.create_table(("sales", "orders"), SCHEMA)
    server.table_config = {"s3.remote-signing-enabled": "true", "s3.signer.uri": "http://127.0.0.1:1"}
    with pytest.raises(DeliveryError, match="sign each request remotely, which is not supported"):
        read(tables_of(server, {"s3.endpoint": store.endpoint}))


def test_no_code_path_of_a_registered_table_writes_or_deletes(
    server: RestCatalogServer, writer: SqlCatalog, keys: dict[str, str]
) -> None:
    writer.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1]}))
    tables = tables_of(server, keys)
    table = tables.load(RegisteredTable("1", ("sales", "orders"), tables.find_uuid("1", ("sales", "orders"))))
    path = json.loads(table.metadata.model_dump_json())["snapshots"][0]["manifest-list"]
    for act in (
        lambda: table.io.delete(path),
        lambda: table.io.new_output(path),
        lambda: table.append(pa.table({"id": [2]})),
    ):
        with pytest.raises(ReadOnlyError):
            act()
    assert [one for one in server.seen if not one.startswith("GET") and "oauth" not in one] == []


def test_the_environment_of_the_server_is_not_used(
    server: RestCatalogServer, writer: SqlCatalog, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1, 2, 3]}))
    with attacker() as (origin, seen):
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "PYICEBERG_CATALOG__LAKEHOUSE__URI"):
            monkeypatch.setenv(name, origin)
        for name in ("AWS_SESSION_TOKEN", "AWS_REGION", "PYICEBERG_CATALOG__LAKEHOUSE__TOKEN"):
            monkeypatch.setenv(name, "of-the-server")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
        stores.forget_stores()
        assert read(tables_of(server, keys)) == 3
        stores.forget_stores()
        with pytest.raises(DeliveryError, match="no credentials"):
            read(tables_of(server, {"s3.endpoint": keys["s3.endpoint"]}))
        assert seen == []
    stores.forget_stores()


class _Slow(http.server.BaseHTTPRequestHandler):
    """Answers one byte at a time, for longer than a test waits."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.05)

    def log_message(self, *_: Any) -> None:
        pass


def test_an_answer_that_arrives_byte_by_byte_has_a_deadline() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    properties = {"uri": f"http://127.0.0.1:{server.server_port}", "token": "t"}
    config = CatalogConfig("1", "slow", "rest", properties, Network(read_timeout=0.3))
    started = time.monotonic()
    try:
        with pytest.raises(DeliveryError, match="no answer in time") as failed:
            RegisteredTables(lambda _id: config).namespaces("1")
    finally:
        server.shutdown()
        server.server_close()
    assert failed.value.transient
    assert time.monotonic() - started < 20
