"""The pages of catalogs: added, tested, changed, removed; tables browsed and registered; registered datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import select, update

from offtake.scheduling.catalog_sync import sync_due
from offtake.store.tables import Dataset, LakeCatalog
from tests.deployment import Deployment
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.web.browsing import Visitor, signed_in, words

SCHEMA = pa.schema([("id", pa.int64())])
SECRET = "MARKEDsecretMARKED"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestCatalogServer]:
    writer = SqlCatalog("foreign", uri=f"sqlite:///{tmp_path / 'foreign.db'}", warehouse=f"file://{tmp_path}/foreign")
    writer.create_namespace("sales")
    for name in ("orders", "returns", "<b>bold</b>"):
        writer.create_table(("sales", name.replace("/", "")), SCHEMA)
    with rest_catalog(writer) as found:
        yield found


def form(server: RestCatalogServer, **fields: str) -> dict[str, str]:
    given = {"uri": server.origin, "credential": ":".join(CLIENT), "s3.secret-access-key": SECRET}
    given |= {"s3.access-key-id": "AKIA"}
    properties = {f"p-{name}": value for name, value in given.items()}
    return {"type": "rest", "name": "lakehouse", "key": "1", "do": "save", **properties} | fields


def add(person: Visitor, server: RestCatalogServer, **fields: str) -> str:
    person.get("/ui/prod/catalogs/new?type=rest")
    answer = person.post("/ui/prod/catalogs/new", form(server, **fields))
    return str(answer.headers["location"].partition("?")[0])


def stored(deployed: Deployment) -> LakeCatalog:
    with deployed.backend.database.reading() as session:
        found = session.scalars(select(LakeCatalog)).one()
        session.expunge(found)
        return found


def version(deployed: Deployment) -> str:
    return stored(deployed).version


def test_a_catalog_is_added_after_a_test(deployed: Deployment, server: RestCatalogServer) -> None:
    person = signed_in(deployed)
    assert "No catalogs yet" in words(person.get("/ui/prod/catalogs"))
    types = words(person.get("/ui/prod/catalogs/new"))
    assert "REST catalog" in types
    assert "For the operator on the server's machine only" in types
    page = person.get("/ui/prod/catalogs/new?type=rest")
    assert "Secret access key" in words(page)
    assert "server-identity" not in page
    tested = person.post("/ui/prod/catalogs/new", form(server, do="test"), 200).text
    assert "The catalog answers" in words(tested)
    assert SECRET not in tested
    wrong = person.post("/ui/prod/catalogs/new", form(server, do="test") | {"p-credential": "a:b"}, 200).text
    assert "refuses access" in words(wrong)
    assert "No catalogs yet" in words(person.get("/ui/prod/catalogs"))
    address = add(person, server)
    assert add(person, server) == address
    shown = person.get(f"{address}?added=1")
    assert SECRET not in shown
    assert "The catalog is added" in words(shown)
    assert "stored, not shown" in words(shown)
    assert "lakehouse" in words(person.get("/ui/prod/catalogs?q=LAKE"))


def test_problems_are_shown_at_their_fields_and_secrets_are_not_sent_back(
    deployed: Deployment, server: RestCatalogServer
) -> None:
    person = signed_in(deployed)
    person.get("/ui/prod/catalogs/new?type=rest")
    sent = form(server, name="") | {"p-uri": "ftp://x", "p-s3.region": "x/y"}
    page = person.post("/ui/prod/catalogs/new", sent, 422).text
    assert "3 fields need a change" in words(page)
    assert 'id="problem-p-uri"' in page
    assert 'value="ftp://x"' in page
    assert "must be a URL that starts with http:// or https://" in words(page)
    assert SECRET not in page
    add(person, server)
    again = person.post("/ui/prod/catalogs/new", form(server, key="2"), 422).text
    assert "A catalog named lakehouse already exists" in words(again)
    person.post("/ui/prod/catalogs/new", {"type": "sql", "name": "x", "p-uri": "sqlite://"}, 422)


def test_a_catalog_is_changed_and_its_secrets_stay_with_their_endpoint(
    deployed: Deployment, server: RestCatalogServer
) -> None:
    person = signed_in(deployed)
    address = add(person, server)
    page = person.get(f"{address}/change")
    assert SECRET not in page
    assert "A value is stored" in words(page)
    kept = {"p-credential": "", "p-s3.secret-access-key": "", "version": version(deployed)}
    renamed = form(server, name="renamed") | kept
    assert "The catalog answers" in words(person.post(f"{address}/change", renamed | {"do": "test"}, 200).text)
    person.post(f"{address}/change", renamed)
    assert stored(deployed).name == "renamed"
    stale = person.post(f"{address}/change", renamed, 409).text
    assert "was changed since this page was loaded" in words(stale)
    moved = renamed | {"version": version(deployed), "p-uri": "http://attacker.example"}
    for do in ("save", "test"):
        refused = person.post(f"{address}/change", moved | {"do": do}, 422).text
        assert "must be sent again" in words(refused)
    half = renamed | {"version": version(deployed), "forget": "s3.secret-access-key"}
    assert "needs s3.secret-access-key too" in words(person.post(f"{address}/change", half, 422).text)
    forgotten = renamed | {"version": version(deployed), "forget": "credential"}
    person.post(f"{address}/change", forgotten)
    assert "credential" not in stored(deployed).properties
    assert "s3.secret-access-key" in stored(deployed).properties


def test_tables_are_browsed_and_registered(deployed: Deployment, server: RestCatalogServer) -> None:
    person = signed_in(deployed)
    address = add(person, server)
    assert "sales" in words(person.get(f"{address}/tables"))
    page = person.get(f"{address}/tables?namespace=sales")
    assert "<b>bold" not in page
    assert words(page).count("Not registered") == 3
    assert words(person.get(f"{address}/tables?namespace=sales&q=ORD")).count("Not registered") == 1
    assert "No table matches" in words(person.get(f"{address}/tables?namespace=sales&q=zz"))
    nothing = person.post(f"{address}/tables", {"namespace": "sales"}, 422).text
    assert "Choose a table first" in words(nothing)
    sent: dict[str, Any] = {"namespace": "sales", "table": ["sales.orders", "sales.returns", "sales.nothing"]}
    done = words(person.post(f"{address}/tables", sent, 200).text)
    assert "2 tables are registered" in done
    assert "has no table sales.nothing" in done
    datasets = words(person.get("/ui/prod/datasets"))
    assert datasets.count("Registered table") == 2
    assert "sales.orders" in words(person.get(address))
    refused = words(person.post(f"{address}/remove", {"typed": "lakehouse"}, 409).text)
    assert "Delete them first" in refused
    server.fails = 503
    assert "The catalog cannot be read" in words(person.get(f"{address}/tables?namespace=sales"))


def test_a_namespace_is_kept_in_step_until_it_is_stopped(deployed: Deployment, server: RestCatalogServer) -> None:
    person = signed_in(deployed)
    address = add(person, server)
    person.get(f"{address}/tables?namespace=sales")
    assert "has no namespace" in words(person.post(f"{address}/namespaces", {"namespace": "nothing"}, 422).text)
    person.post(f"{address}/namespaces", {"namespace": "sales"})
    assert "not compared yet" in words(person.get(address))
    for _ in sync_due(deployed.backend):
        pass
    page = person.get(address)
    assert "3 tables" in words(page)
    assert "kept in step" in words(person.get(f"{address}/tables?namespace=sales"))
    person.post(f"{address}/sync")
    stop = page.partition(f'action="{address}/namespaces/')[2].partition("/stop")[0]
    person.post(f"{address}/namespaces/{stop}/stop")
    assert "None. Choose a namespace" in words(person.get(address))


def test_a_dataset_shows_that_it_is_registered_and_that_its_table_is_gone(
    deployed: Deployment, server: RestCatalogServer
) -> None:
    person = signed_in(deployed)
    address = add(person, server)
    person.post(f"{address}/tables", {"namespace": "sales", "table": "sales.orders"}, 200)
    with deployed.backend.database.reading() as session:
        dataset = session.scalars(select(Dataset.id)).one()
    path = f"/ui/prod/datasets/{dataset}"
    page = person.get(path)
    assert "A registered table, read-only here" in words(page)
    assert "/datasets/import" not in page
    assert "has no imports" in words(person.get(f"{path}/batches"))
    settings = words(person.get(f"{path}/settings"))
    assert "Offtake forgets the table" in settings
    assert "New columns" not in settings
    with deployed.backend.database.writing() as session:
        session.execute(update(Dataset).values(gone_at=deployed.clock.now_ms()))
    gone = person.get(path)
    assert "The table is gone" in words(gone)
    assert "/ui/prod/export?" not in gone
    assert "Table is gone" in words(person.get("/ui/prod/datasets"))
    viewer = signed_in(deployed, deployed.new_client("view-datasets"))
    assert "/ui/prod/catalogs" not in viewer.get(path)


def test_a_catalog_is_removed_after_its_name_is_typed(deployed: Deployment, server: RestCatalogServer) -> None:
    person = signed_in(deployed)
    address = add(person, server)
    person.get(address)
    person.post(f"{address}/remove", {"typed": "wrong"}, 422)
    assert person.post(f"{address}/remove", {"typed": "lakehouse"}).headers["location"].endswith("?removed=1")
    person.get(address, 404)


def test_a_table_without_a_catalog_is_registered_by_its_metadata(deployed: Deployment) -> None:
    person = signed_in(deployed)
    person.get("/ui/prod/catalogs/new?type=files")
    sent = {"type": "files", "name": "plain", "key": "1", "p-s3.anonymous": "true"}
    address = str(person.post("/ui/prod/catalogs/new", sent).headers["location"].partition("?")[0])
    assert "Register a table" in words(person.get(address))
    local = person.post(f"{address}/register", {"name": "x", "metadata": "/srv/x.metadata.json"}, 422).text
    assert "for the operator there only" in words(local)


def test_the_pages_need_the_permission(deployed: Deployment, server: RestCatalogServer) -> None:
    address = add(signed_in(deployed), server)
    person = signed_in(deployed, deployed.new_client("manage-datasets", "view-datasets"))
    assert "/ui/prod/catalogs" not in person.get("/ui/prod/datasets")
    for path in ("/ui/prod/catalogs", "/ui/prod/catalogs/new", address, f"{address}/tables", f"{address}/change"):
        person.get(path, 403)
    for path in ("/ui/prod/catalogs/new", f"{address}/change", f"{address}/tables", f"{address}/namespaces"):
        person.post(path, form(server), 403)
    steward = signed_in(deployed, deployed.new_client("manage-catalogs"))
    assert "Register the chosen tables" not in words(steward.get(f"{address}/tables?namespace=sales"))
    steward.post(f"{address}/tables", {"namespace": "sales", "table": "sales.orders"}, 403)
