"""Filters, order, paging, counts and projections of every list (contract, sections 5.3 to 5.5)."""

import base64
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from offtake.contract import listing
from offtake.contract.problems import Problem
from offtake.destinations.registry import DESTINATIONS
from tests.deployment import LAKE, ZONE, ZONE_FLOW, Deployment, rows
from tests.matrix import examples


def names(answer: Any) -> list[str]:
    return [item["name"] for item in answer["items"]]


@pytest.fixture
def zones(deployed: Deployment) -> Deployment:
    """Five base connections, a second apart."""
    for name in ("delta", "Alpha", "charlie", "bravo", "echo"):
        deployed.clock.advance(seconds=1)
        deployed.post("/connections", {"name": name, "connectionSpec": {"id": ZONE, "version": "1.0"}})
    return deployed


@pytest.fixture
def exported(deployed: Deployment) -> tuple[Deployment, str, str]:
    """A deployment with a dataset that a flow has exported once; the ids of both."""
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset)
    deployed.run_due()
    return deployed, dataset, flow


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["echo", "bravo", "charlie", "Alpha", "delta"]),
        ("property=name==bravo", ["bravo"]),
        ("property=name==ALPHA, bravo ", ["bravo", "Alpha"]),
        ("property=name!=bravo", ["echo", "charlie", "Alpha", "delta"]),
        ("property=description!=x", ["echo", "bravo", "charlie", "Alpha", "delta"]),
        ("property=name==bravo&property=state==disabled", []),
        ("property=state==enabled& property=name==echo", ["echo"]),
        (f"property=connectionSpec.id=={ZONE.upper()}", ["echo", "bravo", "charlie", "Alpha", "delta"]),
        ("property=&limit=&orderby=&count=", ["echo", "bravo", "charlie", "Alpha", "delta"]),
        ("limit=100&count=False", ["echo", "bravo", "charlie", "Alpha", "delta"]),
        ("limit=101", ["echo", "bravo", "charlie", "Alpha", "delta"]),
        ("limit=2", ["echo", "bravo"]),
        ("orderby=createdAt", ["delta", "Alpha", "charlie", "bravo", "echo"]),
        ("orderby=+createdAt&limit=1", ["delta"]),
        ("orderby=%2BcreatedAt&limit=1", ["delta"]),
        ("orderby=-name&limit=2", ["echo", "delta"]),
        ("orderby=state,-createdAt", ["echo", "bravo", "charlie", "Alpha", "delta"]),
    ],
)
def test_a_list_is_what_was_asked_for(zones: Deployment, query: str, expected: list[str]) -> None:
    query = query.replace("& property", "&property")
    assert names(zones.get(f"/connections?{query}")) == expected


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_times_are_compared(zones: Deployment, operator: str) -> None:
    items = zones.get("/connections")["items"]
    middle = items[2]["createdAt"]
    wanted = [one["name"] for one in items if eval(f"{one['createdAt']} {operator} {middle}")]  # noqa: S307 - numbers
    assert names(zones.get(f"/connections?property=createdAt{operator}{middle}")) == wanted


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("count=true&limit=10", "1401"),
        ("count=maybe", "1452"),
        ("orderby=na me", "1432"),
        ("orderby=name,", "1432"),
        ("orderby=nonsense", "1433"),
        ("property=name~a", "1440"),
        ("property=createdAt>=1,2", "1443"),
        ("property=name>a", "1448"),
        ("property=nonsense==1", "1449"),
        ("property=name=a", "1450"),
        ("property=name!a", "1450"),
        ("property===", "1450"),
        ("unknown=1", "1451"),
        ("limit=0", "1452"),
        ("limit=-1", "1452"),
        ("limit=1e3", "1452"),
        ("limit=%C2%B2", "1452"),
        ("property=createdAt==", "1453"),
        ("property=createdAt== , ", "1453"),
        ("property=createdAt==yesterday", "1454"),
        ("&".join(["property=name==a"] * 51), "1452"),
    ],
)
def test_what_a_list_cannot_do_is_refused(standing: Deployment, query: str, code: str) -> None:
    problem = standing.get(f"/connections?{query}", 400)
    assert problem["type"].endswith(f"FLOW-{code}-400")
    assert problem["report"]["detailed-message"]


@pytest.mark.parametrize("order", ["", "orderby=name", "orderby=-name", "orderby=state,name", "orderby=-description"])
@pytest.mark.parametrize("keeps_parameters", [True, False])
def test_pages_follow_each_other_in_either_style(zones: Deployment, order: str, keeps_parameters: bool) -> None:
    everything = names(zones.get(f"/connections?{order}"))
    found, path, pages = list[str](), f"/connections?limit=2&{order}", 0
    while path:
        answer = zones.get(path)
        found += names(answer)
        pages += 1
        link = answer["_links"].get("next")
        path = ""
        if link:
            assert link["href"].count("=") == 1
            token = link["href"].split("=")[1]
            path = f"{link['href']}&limit=2&{order}" if keeps_parameters else f"/connections?continuationToken={token}"
    assert (found, pages) == (everything, 3)


def test_pages_neither_skip_nor_repeat_while_rows_are_added(zones: Deployment) -> None:
    first = zones.get("/connections?limit=2")
    zones.clock.advance(seconds=1)
    zones.post("/connections", {"name": "late", "connectionSpec": {"id": ZONE, "version": "1.0"}})
    rest = zones.get(first["_links"]["next"]["href"] + "&limit=100")
    assert names(first) == ["echo", "bravo"]
    assert names(rest) + names(zones.get(rest["_links"]["next"]["href"])) == ["charlie", "Alpha", "delta"]


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        {},
        {"l": 5, "p": [], "o": "-updatedAt", "a": ["x", "y"]},
        {"l": 5, "p": [], "o": "name", "a": [1, "y"]},
        {"l": 5, "p": [], "o": "-updatedAt", "a": [2**63, "y"]},
        {"l": 5, "p": [], "o": "-updatedAt", "a": [1]},
        {"l": 5, "p": [], "o": "-updatedAt", "a": [True, "y"]},
        {"l": 5, "p": [], "o": "-updatedAt", "a": [{}, []]},
        {"l": 10**9, "p": [], "o": "-updatedAt", "a": [1, "y"]},
    ],
)
def test_a_token_that_was_not_given_out_is_refused(deployed: Deployment, document: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    assert "FLOW-1452" in deployed.get(f"/flows?continuationToken={token}", 400)["type"]


@pytest.mark.parametrize(
    "document",
    [
        '{"l": 10, "p": [], "o": "-updatedAt", "a": ' + "[" * 20_000 + "]" * 20_000 + "}",
        "[" * 30_000,
        '{"l": Infinity, "p": [], "o": "-updatedAt", "a": [1, "x"]}',
        '{"l": NaN, "p": [], "o": "-updatedAt", "a": [1, "x"]}',
        '{"l": 10, "p": [], "o": "-updatedAt", "a": [1, "\\ud800"]}',
        '{"l": 10, "p": [], "o": "-updatedAt", "a": [1, "\\u0000"]}',
        '{"l": 10, "p": ["name==\\ud800"], "o": "-updatedAt", "a": [1, "x"]}',
        '{"l": 10, "p": ["name==\\u0000"], "o": "-updatedAt", "a": [1, "x"]}',
        '{"l": 10, "p": [], "o": "-updatedAt", "a": [1e999, "x"]}',
    ],
    ids=[
        "deep",
        "deeper",
        "infinite",
        "NaN",
        "half a character",
        "NUL",
        "half, filter",
        "NUL, filter",
        "infinite value",
    ],
)
def test_a_damaged_token_is_refused(deployed: Deployment, document: str) -> None:
    token = base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")
    assert "FLOW-1452" in deployed.get(f"/flows?continuationToken={token}", 400)["type"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@hypothesis.settings(max_examples=examples(300))
@hypothesis.given(st.fixed_dictionaries({}, optional=dict.fromkeys("lpoa", _JSON)))
def test_whatever_a_token_holds_it_is_read_or_refused(document: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
    try:
        query = listing.list_query(None, [], token)
    except Problem:
        return
    assert 1 <= query.limit <= listing.MOST_SEARCHED
    assert all("\x00" not in one for one in query.properties)


def test_a_count_is_a_number_alone(zones: Deployment) -> None:
    assert zones.get("/connections?count=true") == {"count": 5}
    assert zones.get("/connections?count=TRUE&property=name==echo,bravo") == {"count": 2}
    assert zones.get("/connectionSpecs?count=true") == {"count": len(DESTINATIONS) + 1}


def test_properties_without_an_operator_say_what_to_return(zones: Deployment) -> None:
    answer = zones.get("/connections?property=id,name&property=name==echo")
    assert [set(item) for item in answer["items"]] == [{"id", "name"}]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("inheritedAttributes.properties.isDestinationFlow==true", True),
        ("inheritedAttributes.properties.isDestinationFlow==false", False),
        ("inheritedAttributes.properties.isSourceFlow==true", False),
        ("inheritedAttributes.properties.isSourceFlow!=true", True),
        (f"inheritedAttributes.targetConnections[].connectionSpec.id=={ZONE}", True),
        (f"inheritedAttributes.targetConnections[].connectionSpec.id=={LAKE}", False),
        ("inheritedAttributes.targetConnections[].data.outputType==DATASET_EXPORT", True),
        (f"inheritedAttributes.sourceConnections[].connectionSpec.id=={LAKE}", True),
        (f"flowSpec.id=={ZONE_FLOW}", True),
        ("lastRunDetails.state==success", True),
        ("lastRunDetails.state==failed", False),
        ("lastRunDetails.startedAtUTC>1000", True),
        ("lastRunDetails.startedAtUTC<1000", False),
    ],
)
def test_flows_are_found_by_what_they_inherit(exported: tuple[Deployment, str, str], query: str, found: bool) -> None:
    deployed, _, flow = exported
    assert [item["id"] for item in deployed.get(f"/flows?property={query}")["items"]] == ([flow] if found else [])


def test_entities_are_found_by_what_they_use(exported: tuple[Deployment, str, str]) -> None:
    deployed, _, flow = exported
    one = deployed.get(f"/flows/{flow}")["items"][0]
    source, target = one["sourceConnectionIds"][0], one["targetConnectionIds"][0]
    for query in (f"sourceConnectionIds[]=={source}", f"targetConnectionIds[]=={target}"):
        assert len(deployed.get(f"/flows?property={query}")["items"]) == 1
    base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    assert deployed.get(f"/targetConnections?property=baseConnectionId=={base}")["items"][0]["id"] == target
    lake = deployed.get(f"/sourceConnections/{source}")["items"][0]["baseConnectionId"]
    assert deployed.get(f"/sourceConnections?property=baseConnectionId=={lake}")["items"][0]["id"] == source


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("flowId=={flow}", True),
        ("flowId==another", False),
        ("metrics.statusSummary.status==Success", True),
        ("metrics.statusSummary.status==failed,success", True),
        ("metrics.statusSummary.status==failed", False),
        ("metrics.durationSummary.startedAtUTC>=1000", True),
        ("metrics.durationSummary.completedAtUTC<1000", False),
        ("state==inProgress", False),
        ("state==success", True),
        ("metrics.recordSummary.targetSummaries[].entitySummaries[].id==dataset:{dataset}", True),
        ("metrics.recordSummary.targetSummaries[].entitySummaries[].id==dataset:other", False),
        ("metrics.recordSummary.targetSummaries[].entitySummaries[].id!=dataset:{dataset}", False),
        ("metrics.recordSummary.targetSummaries[].entitySummaries[].id!=dataset:other", True),
    ],
)
def test_runs_are_found_by_what_became_of_them(exported: tuple[Deployment, str, str], query: str, found: bool) -> None:
    deployed, dataset, flow = exported
    query = query.format(flow=flow, dataset=dataset)
    assert len(deployed.get(f"/runs?property={query}")["items"]) == int(found)


def test_a_run_that_is_waiting_is_in_progress(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    deployed.post(
        "/data/core/activation/disflowprovider/adhocrun",
        {"activationInfo": {"destinations": [{"flowId": flow}]}},
        200,
    )
    assert len(deployed.get("/runs?property=state==inProgress")["items"]) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"queryString": "name==echo,bravo"}, ["echo", "bravo"]),
        ({"queryString": "state==enabled&name!=echo", "limit": 2}, ["bravo", "charlie"]),
        ({"queryString": "", "orderby": "name", "limit": "1000", "count": False}, None),
        ({"limit": 1}, ["echo"]),
    ],
)
def test_a_search_is_a_list_in_a_body(zones: Deployment, body: dict[str, Any], expected: list[str] | None) -> None:
    answer = zones.post("/connections/search", body, 200)
    assert names(answer) == (expected or names(zones.get("/connections?orderby=name")))


def test_a_search_counts_and_projects(exported: tuple[Deployment, str, str]) -> None:
    deployed, _, flow = exported
    assert deployed.post("/flows/search", {"count": True}, 200) == {"count": 1}
    answer = deployed.post("/flows/search", {"projectionFields": "id,name"}, 200)
    assert answer["items"] == [{"id": flow, "name": "flow"}]
    assert "FLOW-1449" in deployed.post("/flows/search", {"queryString": "no==1"}, 400)["type"]
    found = deployed.post("/flowSpecs/search", {"queryString": "name==DatasetsToAmazonS3"}, 200)["items"]
    assert [one["name"] for one in found] == ["DatasetsToAmazonS3"]


def test_a_name_with_capitals_beyond_ascii_is_found_as_it_is_written(zones: Deployment) -> None:
    zones.post("/connections", {"name": "ÄRZTE Köln", "connectionSpec": {"id": ZONE, "version": "1.0"}})
    for written in ("ÄRZTE Köln", "Ärzte köln", "none, ÄRZTE Köln"):
        assert names(zones.get(f"/connections?property=name=={written}")) == ["ÄRZTE Köln"]
    assert "ÄRZTE Köln" not in names(zones.get("/connections?property=name!=ÄRZTE Köln"))


@pytest.mark.parametrize("path", ["flows", "connections", "runs", "flowSpecs", "connectionSpecs"])
def test_more_values_than_are_answered_are_refused_by_every_list(deployed: Deployment, path: str) -> None:
    root = f"/data/foundation/flowservice/{path}"
    many = ",".join("x" * 3 for _ in range(1001))
    answers = [deployed.http.get(root, params={"property": f"name=={many}"})]
    if path in ("flows", "connections"):
        half = many[: len(many) // 2]
        answers.append(deployed.http.post(f"{root}/search", json={"queryString": f"id=={half}&id=={many}"}))
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert "1000 values" in answer.text
        assert len(answer.text) < 2000


def test_more_orders_than_there_can_be_are_refused(deployed: Deployment) -> None:
    answer = deployed.http.get("/data/foundation/flowservice/flows", params={"orderby": "name," * 500 + "name"})
    assert answer.status_code == 400
    assert "at most 20" in answer.text
