"""Who may do what: the tutorial needs three permissions, and nothing crosses a sandbox or an organisation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from offtake.access import access
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.store.tables import Client, Sandbox
from tests.deployment import FLOW_SERVICE, LAKE, ZONE, Deployment, flow_body, rows, source_body, target_body
from tests.organisations import second_organisation

ADHOC = "/data/core/activation/disflowprovider/adhocrun"
SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
LANDING_ZONE = "/data/foundation/connectors/landingzone"
EXPORTING = (VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS)
COLLECTING: set[tuple[str, ...]] = {(VIEW_DESTINATIONS,), (VIEW_DATASETS,)}
CONFIGS = "configs?outputType=activationDatasets&outputField=datasets"


@dataclass
class Made:
    """What the administrator has made in a sandbox, so that each step can be tried by itself."""

    deployed: Deployment
    dataset: str
    source: str
    base: str
    target: str
    flow: str
    run: str


@pytest.fixture
def made(deployed: Deployment) -> Made:
    return make(deployed)


def make(deployed: Deployment) -> Made:
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset, schedule={"startTime": deployed.clock.now_seconds() + 86_400})
    found = deployed.get(f"/flows/{flow}")["items"][0]
    source, target = found["sourceConnectionIds"][0], found["targetConnectionIds"][0]
    base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    deployed.post(ADHOC, {"activationInfo": {"destinations": [{"flowId": flow}]}}, 200)
    run = deployed.get("/runs")["items"][0]["id"]
    return Made(deployed, dataset, source, base, target, flow, run)


def get(path: str) -> Callable[[Made], Any]:
    return lambda made: made.deployed.http.get(FLOW_SERVICE + path.format(**vars(made)))


def post(path: str, body: Callable[[Made], Any]) -> Callable[[Made], Any]:
    return lambda made: made.deployed.http.post(
        path if path.startswith("/data") else FLOW_SERVICE + path, json=body(made)
    )


STEPS: dict[str, tuple[Callable[[Made], Any], set[tuple[str, ...]]]] = {
    "connection specs": (get("/connectionSpecs"), {(VIEW_DESTINATIONS,)}),
    "one connection spec": (get(f"/connectionSpecs/{LAKE}"), {(VIEW_DESTINATIONS,)}),
    "eligible datasets": (get(f"/connectionSpecs/{LAKE}/{CONFIGS}"), {(VIEW_DESTINATIONS,), (VIEW_DATASETS,)}),
    "flow specs": (get("/flowSpecs"), {(VIEW_DESTINATIONS,)}),
    "source connection": (
        post("/sourceConnections", lambda made: source_body(made.dataset)),
        {(EXPORT_DATASETS,), (VIEW_DATASETS,), (VIEW_DESTINATIONS,)},
    ),
    "base connection": (
        post("/connections", lambda _: {"name": "zone", "connectionSpec": {"id": ZONE, "version": "1.0"}}),
        {(MANAGE_DESTINATIONS, EXPORT_DATASETS), (VIEW_DESTINATIONS,)},
    ),
    "target connection": (
        post("/targetConnections", lambda made: target_body(made.base)),
        {(MANAGE_DESTINATIONS, EXPORT_DATASETS), (VIEW_DESTINATIONS,)},
    ),
    "flow": (
        post("/flows", lambda made: flow_body(made.source, made.target, made.deployed.clock)),
        {(EXPORT_DATASETS,), (VIEW_DATASETS,), (VIEW_DESTINATIONS,)},
    ),
    "connection test": (
        get("/connections/{base}/test"),
        {(MANAGE_DESTINATIONS, EXPORT_DATASETS), (VIEW_DESTINATIONS,)},
    ),
    "flows": (get("/flows"), {(VIEW_DESTINATIONS,)}),
    "one flow": (get("/flows/{flow}"), {(VIEW_DESTINATIONS,)}),
    "runs": (get("/runs"), {(VIEW_DESTINATIONS,)}),
    "one run": (get("/runs/{run}"), {(VIEW_DESTINATIONS,)}),
    "landing zone": (lambda made: made.deployed.http.get(LANDING_ZONE), {(VIEW_DESTINATIONS,)}),
    "credentials": (lambda made: made.deployed.http.get(f"{LANDING_ZONE}/credentials"), COLLECTING),
    "refresh": (
        lambda made: made.deployed.http.post(f"{LANDING_ZONE}/credentials?action=refresh"),
        {(MANAGE_DESTINATIONS, EXPORT_DATASETS), *COLLECTING},
    ),
}


@pytest.mark.parametrize("missing", [None, *EXPORTING])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.matrix
def test_the_tutorial_needs_three_permissions_and_names_the_one_that_is_missing(
    made: Made, step: str, missing: str | None
) -> None:
    act, needed = STEPS[step]
    granted = [one for one in EXPORTING if one != missing]
    refused = [one for one in needed if not set(one).intersection(granted)]
    with made.deployed.acting(made.deployed.new_client(*granted)):
        answer = act(made)
    if not refused:
        assert answer.status_code in (200, 201), answer.text
        return
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("-2120-403")
    assert missing in answer.json()["report"]["detailed-message"]


@pytest.mark.parametrize("missing", [None, *EXPORTING])
def test_an_export_now_needs_all_of_them(deployed: Deployment, missing: str | None) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    body = {"activationInfo": {"destinations": [{"flowId": flow}]}}
    with deployed.acting(deployed.new_client(*(one for one in EXPORTING if one != missing))):
        answer = deployed.http.post(ADHOC, json=body)
    assert answer.status_code == (200 if missing is None else 403)
    assert missing is None or missing in answer.json()["message" if "message" in answer.json() else "detail"]


def test_a_role_of_one_sandbox_does_nothing_in_another(made: Made) -> None:
    deployed = made.deployed
    deployed.post(SANDBOXES, {"name": "dev", "title": "D", "type": "development"}, 202)
    client = deployed.new_client("*", sandboxes=("dev",))
    with deployed.acting(client, "dev"):
        assert deployed.get("/flows")["items"] == []
    with deployed.acting(client, "prod"):
        hidden = [act(made) for act, _ in STEPS.values()]
    with deployed.acting(client, "nope"):
        unknown = [act(made) for act, _ in STEPS.values()]
    for here, nowhere in zip(hidden, unknown, strict=True):
        assert here.status_code == nowhere.status_code == 404
        assert here.json()["detail"].replace("prod", "nope") == nowhere.json()["detail"]


def test_without_a_sandbox_a_client_is_not_let_into_one_that_it_has_no_role_in(deployed: Deployment) -> None:
    deployed.post(SANDBOXES, {"name": "dev", "title": "D", "type": "development"}, 202)
    with deployed.acting(deployed.new_client("*", sandboxes=("dev",))):
        del deployed.http.headers["x-sandbox-name"]
        assert deployed.get("/flows", 404)["type"].endswith("FLOW-2106-404")


KINDS = {
    "connections": "base",
    "sourceConnections": "source",
    "targetConnections": "target",
    "flows": "flow",
    "runs": "run",
}


def same(hidden: Any, unknown: Any, hidden_id: str, unknown_id: str) -> None:
    """Both refusals alike, but for the id that was asked for."""
    hidden["report"].pop("request-id"), unknown["report"].pop("request-id")
    assert str(hidden).replace(hidden_id, unknown_id) == str(unknown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["sandbox", "organisation"])
def test_ids_of_elsewhere_are_as_unknown_as_ids_of_nothing(made: Made, kind: str, where: str) -> None:
    deployed, known, unknown = made.deployed, getattr(made, KINDS[kind]), str(uuid4())
    with elsewhere(deployed, where):
        same(deployed.get(f"/{kind}/{known}", 404), deployed.get(f"/{kind}/{unknown}", 404), known, unknown)
        assert deployed.get(f"/{kind}")["items"] == []
        assert deployed.get(f"/{kind}?property=id=={known}")["items"] == []


@pytest.mark.parametrize("where", ["sandbox", "organisation"])
def test_nothing_of_elsewhere_can_be_referred_to(made: Made, where: str) -> None:
    deployed, nothing = made.deployed, str(uuid4())
    with elsewhere(deployed, where):
        mine = deployed.post("/connections", {"name": "zone", "connectionSpec": {"id": ZONE, "version": "1.0"}})["id"]
        target = deployed.post("/targetConnections", target_body(mine))["id"]
        source = deployed.post("/sourceConnections", source_body(import_here(deployed)))["id"]
        bodies: list[tuple[str, Callable[[str], Any], str, int]] = [
            ("/sourceConnections", source_body, made.dataset, 400),
            ("/targetConnections", target_body, made.base, 404),
            ("/flows", lambda known: flow_body(known, target, deployed.clock), made.source, 404),
            ("/flows", lambda known: flow_body(source, known, deployed.clock), made.target, 404),
            (ADHOC, lambda known: {"activationInfo": {"destinations": [{"flowId": known}]}}, made.flow, 400),
        ]
        for path, body, known, status in bodies:
            same(deployed.post(path, body(known), status), deployed.post(path, body(nothing), status), known, nothing)
        (eligible,) = deployed.get(f"/connectionSpecs/{LAKE}/{CONFIGS}")["items"]
        assert eligible["id"] != made.dataset


def elsewhere(deployed: Deployment, where: str) -> Any:
    if where == "organisation":
        return deployed.acting(second_organisation(deployed))
    deployed.post(SANDBOXES, {"name": "dev", "title": "D", "type": "development"}, 202)
    return deployed.acting(deployed.new_client("*", sandboxes=("dev",)), "dev")


def test_a_token_of_one_organisation_is_no_good_in_another(deployed: Deployment) -> None:
    theirs = second_organisation(deployed)
    deployed.http.headers["x-gw-ims-org-id"] = theirs.org_id
    answer = deployed.http.get(f"{FLOW_SERVICE}/flows")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "403025")


def test_sandboxes_of_one_name_have_zones_of_their_own(made: Made) -> None:
    deployed = made.deployed
    deployed.run_due()
    assert list(deployed.zone.rglob("*.parquet"))
    with deployed.acting(second_organisation(deployed)):
        given = deployed.http.get(f"{LANDING_ZONE}/credentials?type=dlz_destination").json()
        listed = deployed.http.get(f"/dlz-destination?restype=container&comp=list&{given['SASToken']}")
        assert "<Blobs></Blobs>" in listed.text
        deployed.flow(import_here(deployed))
        deployed.run_due()
        listed = deployed.http.get(f"/dlz-destination?restype=container&comp=list&{given['SASToken']}")
        assert listed.text.count("<Blob>") == 1
    assert len(list(deployed.zone.rglob("*.parquet"))) == 1


def import_here(deployed: Deployment) -> str:
    """A dataset in the sandbox that is called in."""
    before = deployed.caller
    with deployed.backend.database.reading() as session:
        client = session.get_one(Client, deployed.http.headers["x-api-key"])
        here = {"org_id": client.org_id, "name": deployed.http.headers["x-sandbox-name"]}
        sandbox = session.scalars(select(Sandbox).filter_by(**here)).one()
        deployed.caller = access.caller_of(session, client, sandbox, remote="", request_id="")
    try:
        return deployed.import_rows("events", rows(0, 5))
    finally:
        deployed.caller = before
