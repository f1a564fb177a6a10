"""Namespaces of other catalogs are kept in step: tables appear, are gone, and are never another table by their name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import func, select

from offtake.catalog import kept_namespaces, lake_catalogs, namespace_sync
from offtake.errors import DATASET_GONE, SOURCE_UNAVAILABLE, DeliveryError
from offtake.lake.registered import RegisteredTables
from offtake.scheduling.catalog_sync import sync_due
from offtake.store.tables import Dataset, LakeNamespace
from tests.cli.deliveries import Offtake
from tests.deployment import Deployment
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog

CATALOGS = "/data/foundation/catalog/lakeCatalogs"
DATASETS = "/data/foundation/catalog/dataSets"
SCHEMA = pa.schema([("id", pa.int64())])
GONE = "goneSince"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestCatalogServer]:
    writer = SqlCatalog("foreign", uri=f"sqlite:///{tmp_path / 'foreign.db'}", warehouse=f"file://{tmp_path}/foreign")
    writer.create_namespace("sales")
    with rest_catalog(writer) as found:
        yield found


@pytest.fixture
def catalog(deployed: Deployment, server: RestCatalogServer) -> str:
    properties = {"uri": server.origin, "credential": ":".join(CLIENT), "s3.anonymous": "true"}
    return str(deployed.post(CATALOGS, {"name": "lakehouse", "type": "rest", "properties": properties})["id"])


def create(server: RestCatalogServer, *names: str) -> None:
    for name in names:
        server.tables.create_table(("sales", name), SCHEMA)


def keep(deployed: Deployment, catalog: str, namespace: Any = "sales") -> str:
    (kept,) = deployed.post(f"{CATALOGS}/{catalog}/keptNamespaces", {"namespace": namespace})["items"]
    sync(deployed)
    return str(kept["id"])


def sync(deployed: Deployment) -> None:
    """What the server does by itself."""
    for _ in sync_due(deployed.backend):
        pass


def later(deployed: Deployment) -> None:
    deployed.clock.advance(seconds=16 * 60)
    deployed.sign_in()
    sync(deployed)


def kept(deployed: Deployment, catalog: str) -> dict[str, Any]:
    (found,) = deployed.http.get(f"{CATALOGS}/{catalog}/keptNamespaces").json()["items"]
    return dict(found)


def datasets(deployed: Deployment) -> dict[str, str]:
    """By name, whether the dataset's table is there or gone."""
    documents = deployed.http.get(DATASETS, params={"limit": "100"}).json().values()
    registered = {one["name"]: one["extensions"]["offtake"].get("registered") for one in documents}
    return {name: "gone" if GONE in one else "there" for name, one in registered.items() if one}


def id_of(deployed: Deployment, name: str) -> str:
    found = deployed.http.get(DATASETS, params={"name": name}).json()
    return str(next(iter(found)))


def test_tables_appear_are_gone_and_come_back(deployed: Deployment, server: RestCatalogServer, catalog: str) -> None:
    create(server, "orders", "returns")
    keep(deployed, catalog)
    assert datasets(deployed) == {"sales.orders": "there", "sales.returns": "there"}
    create(server, "stock")
    sync(deployed)
    assert "sales.stock" not in datasets(deployed)
    server.tables.rename_table(("sales", "orders"), ("sales", "orders_old"))
    later(deployed)
    assert datasets(deployed) == {
        "sales.orders": "gone",
        "sales.orders_old": "there",
        "sales.returns": "there",
        "sales.stock": "there",
    }
    server.tables.rename_table(("sales", "orders_old"), ("sales", "orders"))
    later(deployed)
    later(deployed)
    assert datasets(deployed)["sales.orders"] == "there"
    assert kept(deployed, catalog)["problem"] is None


def test_a_table_of_the_same_name_is_another_dataset(
    deployed: Deployment, server: RestCatalogServer, catalog: str
) -> None:
    create(server, "orders")
    keep(deployed, catalog)
    old = id_of(deployed, "sales.orders")
    flow = deployed.flow(old)
    server.tables.drop_table(("sales", "orders"))
    create(server, "orders")
    later(deployed)
    assert datasets(deployed) == {"sales.orders": "gone", "sales.orders 2": "there"}
    deployed.run_due()
    run = deployed.runs(flow)[0]
    assert run["metrics"]["statusSummary"]["status"] == "failed"
    assert "dropped and made again" in json.dumps(run)
    assert id_of(deployed, "sales.orders") == old


def test_a_dropped_table_fails_its_flows_with_the_reason(
    deployed: Deployment, server: RestCatalogServer, catalog: str
) -> None:
    create(server, "orders", "returns")
    keep(deployed, catalog)
    flow = deployed.flow(id_of(deployed, "sales.orders"))
    server.tables.drop_table(("sales", "orders"))
    later(deployed)
    assert datasets(deployed)["sales.orders"] == "gone"
    deployed.run_due()
    assert "has no table sales.orders" in json.dumps(deployed.runs(flow)[0])


@pytest.mark.parametrize("status", [503, 500, 401])
def test_a_catalog_that_does_not_answer_changes_nothing(
    deployed: Deployment, server: RestCatalogServer, catalog: str, status: int
) -> None:
    create(server, "orders", "returns")
    keep(deployed, catalog)
    before, synced = datasets(deployed), kept(deployed, catalog)["syncedAt"]
    server.fails = status
    later(deployed)
    assert datasets(deployed) == before
    found = kept(deployed, catalog)
    assert (found["syncedAt"], "Catalog lakehouse" in found["problem"]) == (synced, True)
    server.fails = None
    later(deployed)
    assert kept(deployed, catalog)["problem"] is None


def test_a_deleted_dataset_stays_deleted_as_long_as_its_table_is_there(
    deployed: Deployment, server: RestCatalogServer, catalog: str
) -> None:
    create(server, "orders", "scratch")
    keep(deployed, catalog)
    assert deployed.http.delete(f"{DATASETS}/{id_of(deployed, 'sales.scratch')}").status_code == 200
    later(deployed)
    assert datasets(deployed) == {"sales.orders": "there"}
    assert kept(deployed, catalog)["excluded"] == ["scratch"]
    server.tables.drop_table(("sales", "scratch"))
    later(deployed)
    create(server, "scratch")
    later(deployed)
    assert datasets(deployed) == {"sales.orders": "there", "sales.scratch": "there"}


def test_a_name_that_is_taken_gets_a_number(
    deployed: Deployment, server: RestCatalogServer, catalog: str, offtake: Offtake
) -> None:
    deployed.import_rows("sales.orders", [{"id": 1}])
    create(server, "orders", "x" * 250)
    code, out, err = offtake("dataset", "register", "--catalog", "lakehouse", "--namespace", "sales")
    assert code == 0, err
    assert "1 table appeared, 0 gone" in out
    assert "sales.orders is dataset sales.orders 2" in " ".join(out.split())
    assert "register it under another name" in " ".join(out.split())
    assert datasets(deployed) == {"sales.orders 2": "there"}
    assert list(kept(deployed, catalog)["refused"]) == ["x" * 250]


@pytest.mark.parametrize(
    ("namespace", "problem"),
    [
        ("empty", "empty has no tables: correct its name, or create a table in catalog lakehouse first"),
        ("slaes", "has no namespace for slaes"),
        ("", "must be names"),
        ([], "must be names"),
    ],
)
def test_a_namespace_that_does_not_fit_is_refused(
    deployed: Deployment, server: RestCatalogServer, catalog: str, namespace: Any, problem: str
) -> None:
    server.tables.create_namespace("empty")
    answer = deployed.http.post(f"{CATALOGS}/{catalog}/keptNamespaces", json={"namespace": namespace})
    assert (answer.status_code, problem in answer.json()["detail"]) == (400, True), answer.text


def test_a_namespace_is_kept_once_and_no_longer_when_it_is_stopped(
    deployed: Deployment, server: RestCatalogServer, catalog: str
) -> None:
    create(server, "orders")
    namespace = keep(deployed, catalog)
    twice = deployed.http.post(f"{CATALOGS}/{catalog}/keptNamespaces", json={"namespace": "sales"})
    assert (twice.status_code, "is kept in step already" in twice.text) == (409, True)
    create(server, "stock")
    assert deployed.http.post(f"{CATALOGS}/{catalog}/action?op=sync").json() == {"namespaces": 1}
    sync(deployed)
    assert "sales.stock" in datasets(deployed)
    assert deployed.http.delete(f"{CATALOGS}/{catalog}/keptNamespaces/{namespace}").status_code == 202
    create(server, "late")
    later(deployed)
    assert datasets(deployed) == {"sales.orders": "there", "sales.stock": "there"}


def test_the_command_compares_at_once(
    deployed: Deployment, server: RestCatalogServer, catalog: str, offtake: Offtake
) -> None:
    create(server, "orders")
    code, _, err = offtake("catalog", "sync", "lakehouse")
    assert (code, "has no namespace that is kept in step" in err) == (1, True)
    keep(deployed, catalog)
    server.tables.drop_table(("sales", "orders"))
    create(server, "orders", "stock")
    code, out, err = offtake("catalog", "sync", "lakehouse", "--json")
    assert code == 0, err
    found = json.loads(out)["sales"]
    assert (sorted(found["appeared"]), found["gone"]) == (["sales.orders", "sales.stock"], ["sales.orders"])
    server.fails = 503
    code, _, err = offtake("catalog", "sync", "lakehouse")
    assert (code, "cannot be read at present" in err) == (1, True)


class Many(RegisteredTables):
    """A catalog with so many tables; each has a UUID of its own, but those `away`."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.names = [f"table_{number:05}" for number in range(count)]
        self.asked: list[str] = []
        self.away = False

    def tables(self, catalog_id: str, namespace: tuple[str, ...]) -> list[tuple[str, ...]]:  # noqa: ARG002
        return [(*namespace, one) for one in self.names]

    def find_uuid(self, catalog_id: str, identifier: tuple[str, ...]) -> str:  # noqa: ARG002
        if self.away and len(self.asked) % 7 == 3:
            self.asked.append("")
            raise DeliveryError(SOURCE_UNAVAILABLE, "away")
        self.asked.append(identifier[-1])
        if identifier[-1].endswith("9"):
            raise DeliveryError(DATASET_GONE, f"{identifier[-1]} is a view.")
        return f"uuid-of-{identifier[-1]}"


def count(deployed: Deployment, *conditions: Any) -> int:
    with deployed.backend.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Dataset).where(*conditions)) or 0


def one_round(deployed: Deployment, many: Many, namespace: str) -> namespace_sync.Round:
    many.asked.clear()
    *_, last = namespace_sync.sync(deployed.backend.database, many, namespace, deployed.clock.now_ms())
    return last


def start(deployed: Deployment, catalog: str, listed: int) -> str:
    with deployed.backend.database.writing() as session:
        row = lake_catalogs.get(session, deployed.caller, catalog)
        return kept_namespaces.keep(session, deployed.caller, row, ("big",), listed, 0).id


def test_a_large_namespace_is_registered_in_rounds_of_bounded_work(deployed: Deployment, catalog: str) -> None:
    many = Many(1200)
    namespace = start(deployed, catalog, 1200)
    rounds = [one_round(deployed, many, namespace) for _ in range(3)]
    assert [one.more for one in rounds] == [True, True, False]
    assert count(deployed) == 1080
    assert len(many.asked) <= 600
    compared: set[str] = set()
    for _ in range(12):
        assert not one_round(deployed, many, namespace).appeared
        assert len(many.asked) == 100
        compared |= set(many.asked)
    assert compared == set(many.names)
    many.names = many.names[:100]
    assert len(one_round(deployed, many, namespace).gone) == 990


def test_a_catalog_that_fails_in_the_middle_leaves_what_was_done_and_goes_on(
    deployed: Deployment, catalog: str
) -> None:
    many = Many(60)
    namespace = start(deployed, catalog, 60)
    many.away = True
    first = one_round(deployed, many, namespace)
    assert first.problem is not None
    assert "away" in first.problem
    many.away = False
    one_round(deployed, many, namespace)
    assert (count(deployed), count(deployed, Dataset.gone_at.is_not(None))) == (54, 0)
    with deployed.backend.database.reading() as session:
        assert session.get_one(LakeNamespace, namespace).problem is None


def test_a_namespace_that_is_too_large_is_refused(deployed: Deployment, catalog: str) -> None:
    with pytest.raises(Exception, match="10001 tables, more than the 10000"):
        start(deployed, catalog, 10_001)
