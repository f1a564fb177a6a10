"""aepp finds specs, datasets and entities: by name, by filter, and page after page."""

from typing import Any

import pytest

from tests.clients.aepp_client import Aepp
from tests.deployment import LAKE, ZONE, ZONE_FLOW

COUNT = 5


@pytest.fixture
def named(aepp: Aepp, dataset: str, name: str) -> str:
    """The name of five of everything."""
    for _ in range(COUNT):
        base = aepp.flows.createBaseConnectionDLZTarget(name)["id"]
        source = aepp.flows.createSourceConnectionDataLake(name, dataset_ids=[dataset])["id"]
        target = aepp.flows.createTargetConnectionDatasetToDataLandingZone(name, base, path="lists")["id"]
        params = {"schedule_start_time": 4_000_000_000, "schedule_timeUnit": "day", "schedule_interval": 1}
        aepp.flows.createFlow(ZONE_FLOW, name, source, target, schedule_frequency="hour", **params)
    return name


def ids(items: list[dict[str, Any]], name: str) -> set[str]:
    """The ids of entities of that name, none of which is there twice."""
    found = [one["id"] for one in items if one["name"] == name]
    assert len(found) == len(set(found))
    return set(found)


def test_every_page_is_followed(aepp: Aepp, named: str) -> None:
    everything: dict[str, Any] = {"n_results": "inf", "limit": 2}
    flows = aepp.flows.getFlows(**everything)
    assert len(ids(flows, named)) == COUNT
    assert aepp.flows.data.flowSpecId[named] == ZONE_FLOW
    assert len(ids(aepp.flows.getSourceConnections(**everything), named)) == COUNT
    assert len(ids(aepp.flows.getTargetConnections(**everything), named)) == COUNT
    # This list follows the whole link and sends its parameters a second time.
    assert len(ids(aepp.flows.getConnections(**everything), named)) == COUNT


def test_pages_of_a_filtered_list_stay_filtered(aepp: Aepp, named: str) -> None:
    found = aepp.flows.getFlows(limit=2, prop=f"name=={named}")
    assert len(found) == len(ids(found, named)) == COUNT
    connections = aepp.flows.getConnections(limit=2, property=f"name=={named}")
    assert len(connections) == len(ids(connections, named)) == COUNT


def test_a_page_is_enough_when_fewer_results_are_wanted(aepp: Aepp, named: str) -> None:
    assert len(aepp.flows.getFlows(limit=2, n_results=2, prop=f"name=={named}")) == 2


def test_connections_are_counted(aepp: Aepp, named: str) -> None:
    assert aepp.flows.getConnections(limit=None, count=True, property=f"name=={named}") == {"count": COUNT}


def test_empty_parameters_are_none(aepp: Aepp, named: str) -> None:
    assert ids(aepp.flows.getConnections(limit="", property="", orderby=""), named)


def test_flows_are_found_by_their_direction_and_their_connections(aepp: Aepp, named: str) -> None:
    (first, *_) = aepp.flows.getFlows(prop=f"name=={named}")
    assert first["id"] in {one["id"] for one in aepp.flows.getFlows(n_results="inf", onlyDestinations=True)}
    assert aepp.flows.getFlows(onlySources=True) == []
    (source,), (target,) = first["sourceConnectionIds"], first["targetConnectionIds"]
    assert aepp.flows.getFlows(n_results="inf", filterSourceIds=[source]) == [first]
    assert aepp.flows.getFlows(n_results="inf", filterTargetIds=[target]) == [first]


def test_specs_are_found_by_name(aepp: Aepp) -> None:
    assert aepp.flows.getConnectionSpecIdFromName("activation-datalake") == LAKE
    assert aepp.flows.getConnectionSpecsMap()["Data Landing Zone"] == ZONE
    found = aepp.flows.getFlowSpecIdFromNames("DatasetsToDataLandingZone", "activation-datalake", "Data Landing Zone")
    assert found == ZONE_FLOW
    assert aepp.flows.getFlowSpec(ZONE_FLOW)["name"] == "DatasetsToDataLandingZone"
    (spec,) = aepp.flows.getConnectionSpec(ZONE)["items"]
    assert spec["attributes"]["isDestination"] is True


@pytest.mark.parametrize("spec", [LAKE, ZONE])
def test_datasets_that_can_be_exported_are_listed(aepp: Aepp, dataset: str, spec: str) -> None:
    assert dataset in {one["id"] for one in aepp.flows.getExportableDatasets(spec)}
    assert dataset in {one["id"] for one in aepp.flows.getExportableDatasetsDLZ()}
