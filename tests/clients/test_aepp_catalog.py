"""Catalog through aepp (contract, section 23; row K30)."""

from typing import Any

import pytest

from tests.clients.aepp_client import Aepp

SCHEMA = "https://ns.example.org/schemas/loyalty"


def new_dataset(catalog: Any, name: str, **more: Any) -> str:
    (path,) = catalog.createDataSet(name=name, schemaId=SCHEMA, **more)
    assert path.startswith("@/dataSets/")
    return str(path.rpartition("/")[2])


def test_a_dataset_is_made_and_read(aepp: Aepp, name: str) -> None:
    catalog = aepp.catalog()
    made = new_dataset(catalog, name, profileEnabled=True, tags={"team": ["crm"]})
    (shown,) = catalog.getDataSet(made).values()
    assert (shown["name"], shown["schemaRef"]["id"]) == (name, SCHEMA)
    assert (shown["tags"]["unifiedProfile"], shown["tags"]["team"]) == (["enabled:true"], ["crm"])
    assert shown["tags"]["adobe/siphon/table/format"] == ["iceberg"]
    assert catalog.getDataSetObservableSchema(made) is not None
    assert catalog.getDataSet("nothing-of-the-kind")["status"] == 404


def test_a_dataset_is_changed_in_every_way_the_client_knows(aepp: Aepp, name: str) -> None:
    catalog = aepp.catalog()
    made = new_dataset(catalog, name)
    path = [f"@/dataSets/{made}"]
    assert catalog.patchDataset(made, {"description": "merged"}) == path
    assert catalog.enableDatasetProfile(made, upsert=True) == path
    (shown,) = catalog.getDataSet(made).values()
    assert (shown["description"], shown["name"]) == ("merged", name)
    assert shown["tags"]["unifiedProfile"] == ["enabled:true", "isUpsert:true"]
    catalog.patchDatasetV2(made, {"description": "merged by version 2"})
    assert catalog.getDataSet(made)[made]["description"] == "merged by version 2"
    kept = {key: shown[key] for key in ("schemaRef", "fileDescription")}
    assert catalog.putDataset(made, {"name": f"{name} replaced"} | kept) == path
    assert catalog.getDataSet(made)[made]["name"] == f"{name} replaced"
    assert catalog.deleteDataSet(made) == 200
    assert catalog.getDataSet(made)["status"] == 404


def test_a_dataset_that_a_flow_exports_is_not_deleted(aepp: Aepp, dataset: str, name: str) -> None:
    flow = aepp.flows.exportDatasetToDLZ([dataset], path=name, scheduleStart=4_000_000_000)["id"]
    assert flow in str(aepp.catalog().deleteDataSet(dataset))


def test_datasets_are_listed_and_their_table_can_be_made(aepp: Aepp, name: str) -> None:
    catalog = aepp.catalog()
    made = [new_dataset(catalog, f"{name} {number}") for number in range(5)]
    assert set(catalog.getDataSets()) >= set(made)
    assert catalog.data.ids[f"{name} 3"] == made[3]
    infos = catalog.getDatasetsInfos().set_index("id")
    assert set(infos.loc[made, "tableFormat"]) == {"iceberg"}
    assert set(infos.loc[made, "schemaId"]) == {SCHEMA}
    assert list(catalog.getDataSets(name=f"{name} 3")) == [made[3]]
    assert set(catalog.getDataSets(property=f"name~^{name} ")) == set(made)


@pytest.mark.parametrize(("limit", "missed"), [(2, {2}), (3, {3}), (100, set())])
def test_the_clients_second_page_begins_one_dataset_late_by_its_own_doing(
    aepp: Aepp, name: str, limit: int, missed: set[int]
) -> None:
    catalog = aepp.catalog()
    made = [new_dataset(catalog, f"{name} {number}") for number in range(5)]
    found = catalog.getDataSets(limit=limit, property=f"name~^{name} ", orderBy="asc:name")
    assert set(found) == {one for number, one in enumerate(made) if number not in missed}
