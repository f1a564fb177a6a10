from pathlib import Path
from typing import Any

import jwt
import pytest
from sqlalchemy import select, update

from offtake.access import access, clients
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DESTINATIONS, Kind
from offtake.engines.local import LocalEngine
from offtake.store.tables import Sandbox, SigningKey
from tests.deployment import FLOW_SERVICE, Deployment, deployment, rows
from tests.fake_clock import FakeClock

AUTH, KEY, ORG, SANDBOX = "Authorization", "x-api-key", "x-gw-ims-org-id", "x-sandbox-name"
TOKENS = ("/ims/token/v2", "/ims/token/v3")


def without(deployed: Deployment, *names: str, **changed: str) -> Any:
    kept = {name: value for name, value in deployed.http.headers.items() if name.lower() not in map(str.lower, names)}
    kept |= {name.replace("_", "-"): value for name, value in changed.items()}
    deployed.http.headers.clear()
    return deployed.http.get(f"{FLOW_SERVICE}/flows", headers=kept)


@pytest.mark.parametrize(
    ("missing", "status", "code", "message"),
    [
        ((AUTH, KEY, ORG), 403, "403010", "Oauth token is missing."),
        ((KEY, ORG), 403, "403000", "Api Key is required"),
        ((ORG,), 400, "400003", "Missing header"),
    ],
)
def test_missing_headers_are_reported_in_their_fixed_order(
    deployed: Deployment, missing: tuple[str, ...], status: int, code: str, message: str
) -> None:
    answer = without(deployed, *missing)
    assert (answer.status_code, answer.json()) == (status, {"error_code": code, "message": message})


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"authorization": "Bearer nonsense"}, 401, "401013"),
        ({"authorization": "Basic abc"}, 401, "401013"),
        ({"x_api_key": "somebody-else"}, 403, "403003"),
        ({"x_gw_ims_org_id": "0123456789ABCDEF01234567@AdobeOrg"}, 403, "403025"),
    ],
)
def test_wrong_headers_are_refused(deployed: Deployment, changed: dict[str, str], status: int, code: str) -> None:
    answer = without(deployed, *(name.replace("_", "-") for name in changed), **changed)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)


def test_a_token_ends_after_a_day(deployed: Deployment) -> None:
    deployed.clock.advance(seconds=86_398)
    assert deployed.get("/flows")["items"] == []
    deployed.clock.advance(seconds=2)
    assert deployed.http.get(f"{FLOW_SERVICE}/flows").status_code == 401


def test_the_scheme_may_be_lower_case(deployed: Deployment) -> None:
    token = deployed.http.headers["authorization"].replace("Bearer", "bearer")
    assert without(deployed, AUTH, authorization=token).status_code == 200


def test_without_a_sandbox_the_default_one_is_used(deployed: Deployment) -> None:
    assert without(deployed, SANDBOX).status_code == 200


def test_an_unknown_sandbox_is_not_found(deployed: Deployment) -> None:
    answer = without(deployed, SANDBOX, x_sandbox_name="nope")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("/FLOW-2100-404")


@pytest.mark.parametrize("path", TOKENS)
@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, "invalid_client"),
        ({"grant_type": "client_credentials"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
    ],
)
def test_bad_credentials_get_no_token(deployed: Deployment, path: str, form: dict[str, str], error: str) -> None:
    answer = deployed.http.post(path, data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize("path", TOKENS)
@pytest.mark.parametrize("in_form", [(), ("client_secret",), ("client_id", "client_secret"), ("grant_type",)])
def test_a_token_is_given_for_parameters_in_the_query_and_in_the_form(
    deployed: Deployment, path: str, in_form: tuple[str, ...]
) -> None:
    sent = {
        "grant_type": "client_credentials",
        "client_id": deployed.admin.client_id,
        "client_secret": deployed.admin.client_secret,
        "scope": "openid,session,AdobeID,read_organizations,additional_info.projectedProductContext",
    }
    form = {name: sent.pop(name) for name in in_form}
    answer = deployed.http.post(path, params=sent, data=form or None)
    assert (answer.status_code, set(answer.json())) == (200, {"access_token", "token_type", "expires_in"})
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 86_399
    assert without(deployed, AUTH, authorization=f"Bearer {answer.json()['access_token']}").status_code == 200


def test_both_token_paths_are_described_in_the_same_words(deployed: Deployment) -> None:
    paths = deployed.http.get("/openapi.json").json()["paths"]
    described = [{**paths[path]["post"], "operationId": ""} for path in TOKENS]
    assert described[0] == described[1]
    assert described[0]["security"] == []


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/xml"])
def test_a_body_needs_its_content_type(deployed: Deployment, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = deployed.http.post(f"{FLOW_SERVICE}/flows", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, "A valid content-type must be specified")


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"{", b"[]", b"{}", b"null", b"1", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_refused(deployed: Deployment, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    for resource in ("sourceConnections", "connections", "targetConnections", "flows"):
        answer = deployed.http.post(f"{FLOW_SERVICE}/{resource}", content=body, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["type"].endswith("/FLOW-1405-400")


def test_a_body_over_the_limit_is_refused(deployed: Deployment) -> None:
    answer = deployed.http.post(f"{FLOW_SERVICE}/flows", json={"name": "x" * 2_000_000})
    assert answer.status_code == 413


def test_every_answer_carries_a_request_id(deployed: Deployment) -> None:
    given = deployed.http.get(f"{FLOW_SERVICE}/flows/none", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == given.json()["report"]["request-id"] == "mine-1"
    assert deployed.http.get("/healthz").headers["x-request-id"]
    assert deployed.http.get("/nowhere").headers["x-request-id"]


def test_the_health_of_the_server_needs_no_token(deployed: Deployment) -> None:
    deployed.http.headers.clear()
    assert deployed.http.get("/healthz").json()["status"] == "ok"


def test_trailing_slashes_and_unknown_accept_values_mean_nothing(deployed: Deployment) -> None:
    answer = deployed.http.get(f"{FLOW_SERVICE}/flows/", headers={"accept": "application/vnd.adobe.x+json"})
    assert answer.status_code == 200


def test_a_missing_permission_is_named(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 1))
    body = {
        "name": "s",
        "connectionSpec": {"id": "x", "version": "1.0"},
        "params": {"datasets": [{"dataSetId": dataset}]},
    }
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS, EXPORT_DATASETS)):
        answer = deployed.post("/sourceConnections", body, 403)
    assert answer["type"].endswith("/FLOW-2120-403")
    assert "view-datasets" in answer["report"]["detailed-message"]


UNKNOWN_ID = "7dfdcd30-0a09-11ea-8ea6-7bf93ce86c28"


@pytest.mark.parametrize("kind", ["user", "service"])
def test_a_sandbox_is_named_by_its_name_or_its_id_or_both(deployed: Deployment, kind: Kind) -> None:
    prod = deployed.caller.sandbox_id
    with deployed.acting(deployed.new_client("*", kind=kind)):
        for path in SERVICES:
            for named in ({}, {"x-sandbox-name": "prod"}):
                for sandbox_id in (prod, f" {prod.upper()} "):
                    assert ask(deployed, path, named | {"x-sandbox-id": sandbox_id}) == (200, ""), path
            assert ask(deployed, path, {"x-sandbox-id": UNKNOWN_ID}) == (404, "2100-404"), path
            assert ask(deployed, path, {"x-sandbox-name": "nope", "x-sandbox-id": prod}) == (404, "2100-404"), path
            both = {"x-sandbox-name": "prod", "x-sandbox-id": UNKNOWN_ID}
            assert ask(deployed, path, both) == (404, "2103-404"), path


def test_an_id_reaches_the_sandbox_that_has_it_and_no_other_of_the_callers(deployed: Deployment) -> None:
    new = {"name": "dev", "title": "Dev", "type": "development"}
    deployed.post("/data/foundation/sandbox-management/sandboxes", new, 202)
    deployed.flow(deployed.import_rows("events", rows(0, 1)))
    with deployed.backend.database.reading() as session:
        dev = session.scalars(select(Sandbox.id).where(Sandbox.name == "dev")).one()
    with deployed.backend.database.writing() as session:
        session.execute(update(Sandbox).where(Sandbox.id == dev).values(state="active"))
    prod = deployed.caller.sandbox_id
    assert ask(deployed, f"{FLOW_SERVICE}/flows?count=true", {"x-sandbox-id": dev}, "count") == (200, 0)
    assert ask(deployed, f"{FLOW_SERVICE}/flows?count=true", {"x-sandbox-id": prod}, "count") == (200, 1)
    assert ask(deployed, f"{FLOW_SERVICE}/flows", {"x-sandbox-id": dev, "x-sandbox-name": "prod"}) == (404, "2103-404")
    # A sandbox that no role of the caller holds in is not there, by its id as by its name.
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS, sandboxes=("prod",))):
        for headers in ({"x-sandbox-id": dev}, {"x-sandbox-name": "dev"}, {"x-sandbox-id": UNKNOWN_ID}):
            assert ask(deployed, f"{FLOW_SERVICE}/flows", headers) == (404, "2100-404")


def test_an_adhoc_run_is_asked_for_with_the_sandboxs_name_and_id(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 1))
    wanted = {"destinations": [{"flowId": deployed.flow(dataset), "datasets": [{"id": dataset}]}]}
    deployed.http.headers["x-sandbox-id"] = deployed.caller.sandbox_id
    deployed.post("/data/core/activation/disflowprovider/adhocrun", {"activationInfo": wanted}, 200)


SERVICES = (
    f"{FLOW_SERVICE}/flows",
    "/data/foundation/catalog/dataSets",
    "/data/foundation/connectors/landingzone?type=dlz_destination",
    "/data/foundation/audit/events",
    "/data/foundation/access-control/acl/reference",
)


def ask(deployed: Deployment, path: str, sandbox: dict[str, str], key: str = "") -> tuple[int, Any]:
    """The status and the error's code, or what the answer has at `key`, of a call with these sandbox headers."""
    kept = {name: value for name, value in deployed.http.headers.items() if not name.startswith("x-sandbox")}
    before = dict(deployed.http.headers)
    deployed.http.headers.clear()
    answer = deployed.http.get(path, headers=kept | sandbox)
    deployed.http.headers.update(before)
    body = answer.json()
    kind = str(body.get("type", "")) if answer.status_code >= 400 else ""
    return answer.status_code, body[key] if key else kind.rpartition("/")[2].partition("-")[2]


@pytest.mark.parametrize(
    ("kind", "name", "sandbox_id", "code"),
    [
        ("user", "*", "*", "2111-403"),
        ("user", "*", "", "2111-403"),
        ("user", "", "*", "2111-403"),
        ("service", "*", "", "2112-400"),
        ("service", "prod", "*", "2112-400"),
        ("service", "*", "7dfdcd30-0a09-11ea-8ea6-7bf93ce86c28", "2112-400"),
        ("service", "*", "*", "2113-400"),
    ],
)
def test_asking_for_all_sandboxes_is_refused_by_the_contracts_rules(
    deployed: Deployment, kind: Kind, name: str, sandbox_id: str, code: str
) -> None:
    with deployed.acting(deployed.new_client("*", kind=kind)):
        deployed.http.headers.update({"x-sandbox-name": name, "x-sandbox-id": sandbox_id})
        assert deployed.get("/flows", int(code[-3:]))["type"].endswith(f"/FLOW-{code}")


def test_a_strict_deployment_wants_the_sandbox_named(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> None:
    with deployment(tmp_path, clock, engine, strict_sandbox_header=True) as deployed:
        assert deployed.get("/flows")["items"] == []
        del deployed.http.headers["x-sandbox-name"]
        refused = deployed.get("/flows", 400)
        assert (refused["type"][-14:], refused["title"]) == ("/FLOW-2105-400", "Header is missing")
        assert deployed.http.get("/data/foundation/sandbox-management/sandboxes").status_code == 200
        deployed.http.headers["x-sandbox-id"] = deployed.caller.sandbox_id
        assert deployed.get("/flows")["items"] == []


def test_keys_that_sign_change_weekly_while_old_tokens_live_on(deployed: Deployment) -> None:
    def key_of(token: str) -> str:
        return str(jwt.get_unverified_header(token.removeprefix("Bearer "))["kid"])

    deployed.clock.advance(days=6, hours=23)
    deployed.sign_in()
    old = deployed.http.headers["Authorization"]
    deployed.clock.advance(hours=2)
    deployed.sign_in()
    new = deployed.http.headers["Authorization"]
    assert key_of(old) != key_of(new)
    deployed.clock.advance(hours=21)
    for token in (old, new):
        assert without(deployed, AUTH, authorization=token).status_code == 200
        deployed.sign_in()
    deployed.clock.advance(days=8)
    deployed.sign_in()
    with deployed.backend.database.reading() as session:
        kept = set(session.scalars(select(SigningKey.id)))
    assert kept == {key_of(new), key_of(deployed.http.headers["Authorization"])}


def test_a_rotated_secret_ends_the_old_one_at_once(deployed: Deployment) -> None:
    client = deployed.new_client(VIEW_DESTINATIONS)
    caller = access.organisation_operator(deployed.backend.database)
    with deployed.acting(client):
        with deployed.backend.database.writing() as session:
            secret = clients.rotate(session, caller, client.client_id, deployed.clock.now_ms())
        assert deployed.get("/flows")["items"] == []  # the token lives out its day
        form = {"grant_type": "client_credentials", "client_id": client.client_id}
        for given, status in ((client.client_secret, 400), (secret, 200)):
            answer = deployed.http.post("/ims/token/v3", data=form | {"client_secret": given})
            assert answer.status_code == status


def test_a_revoked_clients_tokens_stop_at_once(deployed: Deployment) -> None:
    client = deployed.new_client(VIEW_DESTINATIONS)
    caller = access.organisation_operator(deployed.backend.database)
    with deployed.acting(client):
        assert deployed.get("/flows")["items"] == []
        with deployed.backend.database.writing() as session:
            clients.revoke(session, caller, client.client_id, deployed.clock.now_ms())
        answer = deployed.http.get(f"{FLOW_SERVICE}/flows")
        assert (answer.status_code, answer.json()["error_code"]) == (401, "401013")
        form = {"grant_type": "client_credentials", "client_id": client.client_id}
        answer = deployed.http.post("/ims/token/v3", data=form | {"client_secret": client.client_secret})
        assert answer.json()["error"] == "invalid_client"
