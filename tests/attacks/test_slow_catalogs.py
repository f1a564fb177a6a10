"""A catalog that does not answer: a request ends by its deadline, and all others stay fast."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from offtake.catalog import dataset_details, dataset_documents, lake_catalog_calls
from tests.cli.conftest import offtake as offtake  # noqa: PLC0414 - a fixture
from tests.cli.deliveries import Offtake
from tests.deployment import FLOW_SERVICE, Deployment
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.servers import Amazon, amazon
from tests.web.browsing import signed_in

CATALOG = "/data/foundation/catalog"
DATA_ACCESS = "/data/foundation/export"
LAKE = "23598e46-f560-407b-88d5-ea6207e49db0"
CONFIGS = f"{FLOW_SERVICE}/connectionSpecs/{LAKE}/configs"
SECONDS = 0.5
Send = Callable[[Deployment, str, str], Any]


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket="lakehouse")
        yield found


@pytest.fixture
def server(store: Amazon, tmp_path: Path) -> Iterator[RestCatalogServer]:
    url = f"sqlite:///{tmp_path / 'foreign.db'}"
    writer = SqlCatalog("foreign", uri=url, warehouse=f"s3://lakehouse/{tmp_path.name}", **keys(store))
    writer.create_namespace("sales")
    writer.create_table(("sales", "orders"), pa.schema([("id", pa.int64())])).append(pa.table({"id": [1, 2]}))
    with rest_catalog(writer) as found:
        yield found
        found.hangs = False


def keys(store: Amazon) -> dict[str, str]:
    return {
        "s3.endpoint": store.endpoint,
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
        "s3.region": "us-east-1",
    }


@pytest.fixture
def dataset(offtake: Offtake, server: RestCatalogServer, store: Amazon) -> str:
    properties = {"uri": server.origin, "credential": ":".join(CLIENT), **keys(store)}
    options = [word for name, value in properties.items() for word in ("--property", f"{name}={value}")]
    assert offtake("catalog", "add", "lakehouse", "--type", "rest", *options)[0] == 0
    registered = ("dataset", "register", "orders", "--catalog", "lakehouse", "--table", "sales.orders", "--json")
    found: str = json.loads(offtake(*registered)[1])["id"]
    return found


@pytest.fixture
def flow(deployed: Deployment, dataset: str, server: RestCatalogServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A flow that has delivered the table, whose catalog does not answer any more."""
    found = deployed.flow(dataset)
    deployed.run_due()
    monkeypatch.setattr(lake_catalog_calls, "DEADLINE_SECONDS", SECONDS)
    monkeypatch.setattr(dataset_documents, "_TABLE_SECONDS", SECONDS)
    monkeypatch.setattr(dataset_details, "_SIZE_SECONDS", SECONDS)
    monkeypatch.setattr(dataset_details, "_PAGE_SECONDS", SECONDS)
    server.hangs = True
    return found


def get(path: str) -> Send:
    return lambda deployed, dataset, flow: deployed.http.get(path.format(dataset=dataset, flow=flow))


def backfill(deployed: Deployment, _dataset: str, flow: str) -> Any:
    return deployed.http.post(f"{FLOW_SERVICE}/flows/{flow}/backfill", json={"snapshots": {}})


def source(deployed: Deployment, dataset: str, _flow: str) -> Any:
    spec = {"id": LAKE, "version": "1.0"}
    params = {"datasets": [{"dataSetId": dataset, "ref": "audit"}]}
    body = {"name": "source", "connectionSpec": spec, "params": params}
    return deployed.http.post(f"{FLOW_SERVICE}/sourceConnections", json=body)


NEED_THE_TABLE: dict[str, Send] = {
    "table": get(f"{CATALOG}/dataSets/{{dataset}}/table"),
    "preview": get(f"{DATA_ACCESS}/datasets/{{dataset}}/preview"),
    "rows": get(f"{DATA_ACCESS}/datasets/{{dataset}}/rows"),
    "verification": get(f"{FLOW_SERVICE}/flows/{{flow}}/verification"),
    "backfill": backfill,
    "branch of a source": source,
}


@pytest.mark.parametrize("request_of", NEED_THE_TABLE)
def test_a_request_that_needs_the_table_ends_by_its_deadline(
    deployed: Deployment, dataset: str, flow: str, request_of: str
) -> None:
    begin = time.monotonic()
    answer = NEED_THE_TABLE[request_of](deployed, dataset, flow)
    assert time.monotonic() - begin < SECONDS + 2
    assert answer.status_code == 502, answer.text
    assert answer.json()["type"].endswith("-3504-502")
    assert "has not answered within 0.5 seconds" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        f"{CATALOG}/dataSets/{{dataset}}",
        f"{CATALOG}/dataSets",
        f"{CATALOG}/dataSets?properties=name,observableSchema",
        f"{CONFIGS}?outputType=activationDatasets&outputField=datasets&properties=observableSchema",
    ],
)
def test_a_document_comes_without_what_only_the_table_has(
    deployed: Deployment, dataset: str, flow: str, path: str
) -> None:
    begin = time.monotonic()
    answer = get(path)(deployed, dataset, flow)
    assert time.monotonic() - begin < SECONDS + 2
    assert answer.status_code == 200, answer.text
    assert dataset in answer.text
    assert "adobe_lakeHouse" not in answer.text


def test_pages_come_without_it_too(deployed: Deployment, dataset: str, flow: str) -> None:
    browser = signed_in(deployed)
    for path in (
        f"datasets/{dataset}",
        f"datasets/{dataset}/snapshots",
        f"datasets/{dataset}/exports",
        f"flows/{flow}",
    ):
        begin = time.monotonic()
        answer = browser.get(f"/ui/prod/{path}")
        assert time.monotonic() - begin < 2 * SECONDS + 2
        assert "orders" in answer


def test_other_requests_stay_fast_while_many_wait(
    deployed: Deployment, dataset: str, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_catalog_calls, "DEADLINE_SECONDS", 3.0)
    own = deployed.post(f"{CATALOG}/dataSets", {"name": "own"})[0].rpartition("/")[2]
    pool: Any = deployed.backend.database.engine.pool
    with ThreadPoolExecutor(20) as threads:
        waiting = [threads.submit(NEED_THE_TABLE["table"], deployed, dataset, flow) for _ in range(20)]
        time.sleep(0.5)
        assert pool.checkedout() == 0
        begin = time.monotonic()
        for _ in range(10):
            assert deployed.http.get(f"{CATALOG}/dataSets/{own}").status_code == 200
        assert time.monotonic() - begin < 1.5
        codes = [one.result().status_code for one in waiting]
    # Three calls of a client wait for the catalog; the others are refused at once.
    assert (codes.count(502), codes.count(503)) == (3, 17)
