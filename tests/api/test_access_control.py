"""Permissions, roles and who has them, over HTTP (contract, section 27)."""

import json
from typing import Any

import pytest

from offtake.access.clients import NewClient
from offtake.contract.caller import MANAGE_ACCESS, PERMISSIONS
from offtake.store.tables import Client
from tests.deployment import Deployment
from tests.organisations import second_organisation

SERVICE = "/data/foundation/access-control"
ROLES = f"{SERVICE}/administration/roles"
NEW = {
    "name": "Exporters",
    "description": "Export datasets.",
    "roleType": "user-defined",
    "permissionSets": ["view-destinations", "view-datasets"],
    "sandboxes": ["prod"],
    "subjectAttributes": {"labels": ["core/C1"]},
}


def call(deployed: Deployment, method: str, path: str, status: int = 200, body: Any = None) -> Any:
    sent: Any = {} if body is None else {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    answer = deployed.http.request(method, path if path.startswith("/data") else SERVICE + path, **sent)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def make(deployed: Deployment, **changed: Any) -> str:
    return str(call(deployed, "POST", ROLES, 200, NEW | changed)["id"])


def account(deployed: Deployment, client: NewClient) -> str:
    with deployed.backend.database.reading() as session:
        return session.get_one(Client, client.client_id).account_id


def test_the_reference_names_every_permission_and_resource_type(deployed: Deployment) -> None:
    with deployed.acting(deployed.new_client()):
        found = call(deployed, "GET", "/acl/reference")
    assert list(found["permissions"]) == list(PERMISSIONS)
    assert found["permissions"]["manage-datasets"]["datasets"] == ["read", "write", "delete"]
    assert found["permissions"]["view-datasets"] == {
        "datasets": ["read"],
        "dataset-data": ["read"],
        "schemas": ["read"],
    }
    assert found["resource-types"]["destinations"] == ["read", "write", "delete"]
    assert found["resource-types"]["schemas"] == ["read"]


def test_effective_policies_are_those_that_the_caller_has(deployed: Deployment) -> None:
    asked = [
        "/permissions/manage-datasets", "/resource-types/schemas", "/permissions/view-destinations",
        "/resource-types/destinations", "/resource-types/nothing", "/permissions/nothing", "/permissions/*", "", "/x/y",
    ]  # fmt: skip
    with deployed.acting(deployed.new_client("view-destinations", "manage-datasets")):
        assert call(deployed, "POST", "/acl/effective-policies", 200, asked) == {
            "policies": {
                "/permissions/manage-datasets": ["*"],
                "/resource-types/schemas": ["read"],
                "/permissions/view-destinations": ["*"],
                "/resource-types/destinations": ["read"],
            }
        }
    with deployed.acting(deployed.new_client()):
        assert call(deployed, "POST", "/acl/effective-policies", 200, asked) == {"policies": {}}
    everything = call(deployed, "POST", "/acl/effective-policies", 200, [f"/permissions/{one}" for one in PERMISSIONS])
    assert set(everything["policies"]) == {f"/permissions/{one}" for one in PERMISSIONS}


def test_effective_policies_are_of_the_sandbox(deployed: Deployment) -> None:
    new = {"name": "dev", "title": "D", "type": "development"}
    call(deployed, "POST", "/data/foundation/sandbox-management/sandboxes", 202, new)
    client = deployed.new_client("view-datasets", sandboxes=("dev",))
    with deployed.acting(client, "dev"):
        assert call(deployed, "POST", "/acl/effective-policies", 200, ["/permissions/view-datasets"])["policies"]
    with deployed.acting(client, "prod"):
        call(deployed, "POST", "/acl/effective-policies", 404, ["/permissions/view-datasets"])


@pytest.mark.parametrize(
    ("body", "code"),
    [({"a": 1}, 1452), ([1], 1452), ("x", 1452), ([None], 1452), (["/permissions/x"] * 1001, 1452), (None, 1405)],
)
def test_what_is_no_list_of_urls_is_refused(deployed: Deployment, body: Any, code: int) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    answer = deployed.http.post(f"{SERVICE}/acl/effective-policies", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["type"].endswith(f"ACL-{code}-400")


def test_a_role_is_made_read_changed_and_deleted(deployed: Deployment) -> None:
    made = call(deployed, "POST", ROLES, 200, NEW)
    me = account(deployed, deployed.admin)
    assert made == NEW | {
        "id": made["id"],
        "recordType": "role",
        "imsOrgID": deployed.admin.org_id,
        "createdBy": me,
        "modifiedBy": me,
        "createdAt": deployed.clock.now_ms(),
        "modifiedAt": deployed.clock.now_ms(),
    }
    one = f"{ROLES}/{made['id']}"
    assert call(deployed, "GET", one + "/") == made
    deployed.clock.advance(seconds=1)
    put: Any = {"name": "Renamed", "description": "", "roleType": "user-defined"}
    changed = call(deployed, "PUT", one, 200, put)
    assert (changed["name"], changed["permissionSets"]) == ("Renamed", NEW["permissionSets"])
    assert changed["modifiedAt"] == made["createdAt"] + 1000
    put |= {"permissionSets": ["*"], "sandboxes": ["*"], "subjectAttributes": {"labels": []}}
    assert call(deployed, "PUT", one, 200, put)["sandboxes"] == ["*"]
    call(deployed, "DELETE", one, 204)
    assert call(deployed, "GET", one, 404)["type"].endswith("ACL-1439-404")


@pytest.mark.parametrize(
    ("patch", "key", "value"),
    [
        ({"op": "add", "path": "/description", "value": "new"}, "description", "new"),
        ({"op": "remove", "path": "/description", "value": ""}, "description", ""),
        ({"op": "Replace", "path": "/name", "value": "New"}, "name", "New"),
        ({"op": "add", "path": "/permissionSets/-", "value": "view-sandboxes"}, "permissionSets",
         ["view-destinations", "view-datasets", "view-sandboxes"]),
        ({"op": "add", "path": "/permissionSets", "value": ["view-datasets"]}, "permissionSets",
         ["view-destinations", "view-datasets"]),
        ([{"op": "remove", "path": "/permissionSets", "value": "view-datasets"}], "permissionSets",
         ["view-destinations"]),
        ({"op": "remove", "path": "/permissionSets"}, "permissionSets", []),
        ({"operations": [{"op": "replace", "path": "/sandboxes", "value": "*"}]}, "sandboxes", ["*"]),
        ([{"op": "add", "path": "/subjectAttributes/labels", "value": "core/C2"}], "subjectAttributes",
         {"labels": ["core/C1", "core/C2"]}),
    ],
)  # fmt: skip
def test_a_patch_changes_one_thing(deployed: Deployment, patch: Any, key: str, value: Any) -> None:
    one = f"{ROLES}/{make(deployed)}"
    before = call(deployed, "GET", one)
    assert call(deployed, "PATCH", one, 200, patch) == before | {key: value}
    assert call(deployed, "GET", one) == before | {key: value}


@pytest.mark.parametrize(
    ("method", "body", "code"),
    [
        ("PATCH", {"op": "move", "path": "/name", "value": "x"}, 1434),
        ("PATCH", {"op": "add", "path": "/nothing", "value": "x"}, 1455),
        ("PATCH", {"op": "add", "path": "/id", "value": "x"}, 1455),
        ("PATCH", {"path": "/name", "value": "x"}, 1455),
        ("PATCH", {"op": "replace", "path": "/name", "value": 7}, 1452),
        ("PATCH", {"op": "remove", "path": "/name"}, 1452),
        ("PATCH", {"op": "add", "path": "/permissionSets", "value": "burn"}, 1452),
        ("PATCH", {"op": "add", "path": "/permissionSets", "value": 7}, 1452),
        ("PATCH", {"op": "add", "path": "/sandboxes", "value": "nope"}, 1452),
        ("PATCH", {"op": "add", "path": "/sandboxes", "value": None}, 1452),
        ("PATCH", [], 1452),
        ("PATCH", ["x"], 1452),
        ("PATCH", {"operations": 7}, 1452),
        ("PATCH", [{"op": "replace", "path": "/description", "value": "half"}, {"op": "x", "path": "/name"}], 1434),
        ("PUT", {"name": "only"}, 1455),
        ("PUT", {"name": "", "description": "", "roleType": "user-defined"}, 1452),
        ("PUT", {"name": "a", "description": "", "roleType": "other"}, 1452),
        ("PUT", NEW | {"sandboxes": ["nope"]}, 1452),
        ("PUT", NEW | {"name": "Administrators"}, 3409),
        ("POST", NEW, 3409),
        ("POST", {}, 1405),
        ("POST", NEW | {"name": "other", "permissionSets": "view-datasets"}, 1452),
        ("POST", NEW | {"name": "other", "permissionSets": ["burn", "view-datasets", "melt"]}, 1452),
        ("POST", NEW | {"name": "a\nb"}, 1452),
        ("POST", NEW | {"name": "x" * 256}, 1452),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(deployed: Deployment, method: str, body: Any, code: int) -> None:
    one = f"{ROLES}/{make(deployed)}"
    before = call(deployed, "GET", ROLES)
    status = 409 if code == 3409 else 400
    answer = call(deployed, method, ROLES if method == "POST" else one, status, body)
    assert answer["type"].endswith(f"ACL-{code}-{status}")
    assert call(deployed, "GET", ROLES) == before


def test_every_stranger_in_a_role_is_named_at_once(deployed: Deployment) -> None:
    body = NEW | {"permissionSets": ["burn", "view-datasets", "melt"], "sandboxes": ["nope"]}
    answer = call(deployed, "POST", ROLES, 400, body)
    paths = [one["path"] for one in answer["report"]["errors"]]
    assert paths == ["/permissionSets/0", "/permissionSets/2", "/sandboxes/0"]


def test_lists_of_roles_are_cut_filtered_and_ordered(deployed: Deployment) -> None:
    for number in range(4):
        deployed.clock.advance(seconds=1)
        make(deployed, name=f"r{number}")
    every = call(deployed, "GET", ROLES)
    assert [one["name"] for one in every["items"]] == ["r3", "r2", "r1", "r0", "Administrators"]
    assert every["items"][4]["roleType"] == "system-defined"
    assert (every["_page"], "next" in every["_links"]) == ({"start": 0, "limit": 20, "count": 5}, False)
    seen, path = [], "/administration/roles?limit=2&orderBy=name"
    while path:
        page = call(deployed, "GET", path)
        seen += [one["name"] for one in page["items"]]
        path = page["_links"].get("next", {}).get("href", "")
    assert seen == ["Administrators", "r0", "r1", "r2", "r3"]
    assert [one["name"] for one in call(deployed, "GET", f"{ROLES}?property=name==R2")["items"]] == ["r2"]


def test_a_role_is_given_and_taken_and_holds_at_once(deployed: Deployment) -> None:
    role, client = make(deployed, sandboxes=["*"]), deployed.new_client(sandboxes=())
    subjects = f"{ROLES}/{role}/subjects"
    with deployed.acting(client):
        deployed.get("/flows", 404)
        given = {"op": "add", "path": "/user", "value": account(deployed, client)}
        headers = dict(deployed.http.headers)
        deployed.http.headers.clear()
        deployed.sign_in()
        answer = call(deployed, "PATCH", subjects, 200, given)
        listed = call(deployed, "GET", subjects)
        deployed.http.headers.update(headers)
        assert deployed.get("/flows")["items"] == []
    (held,) = answer["subjects"]
    assert held == {
        "roleId": role,
        "subjectId": account(deployed, client),
        "subjectType": "user",
        "clientId": client.client_id,
        "name": "client",
    }
    assert (listed["items"], listed["_page"]["count"]) == ([held], 1)
    assert call(deployed, "GET", f"{subjects}?start=2&1=1")["items"] == []
    taken = {"op": "remove", "path": "/user", "value": client.client_id}
    assert call(deployed, "PATCH", subjects, 200, taken)["subjects"] == []
    with deployed.acting(client):
        deployed.get("/flows", 404)


def test_the_subjects_of_a_role_are_replaced(deployed: Deployment) -> None:
    role, clients = make(deployed), [deployed.new_client() for _ in range(3)]
    subjects = f"{ROLES}/{role}/subjects"
    ids = [one.client_id for one in clients]
    call(deployed, "PATCH", subjects, 200, [{"op": "add", "path": "/user", "value": ids[:2]}])
    answer = call(deployed, "PATCH", subjects, 200, {"op": "replace", "path": "/user", "value": ids[1:]})
    assert {one["clientId"] for one in answer["subjects"]} == set(ids[1:])


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"op": "add", "path": "/user", "value": "unknown"}, 1452),
        ({"op": "add", "path": "/group", "value": "x"}, 1455),
        ({"op": "add", "path": "/user"}, 1452),
        ({"op": "test", "path": "/user", "value": "x"}, 1434),
    ],
)
def test_a_mistake_about_subjects_is_named(deployed: Deployment, patch: Any, code: int) -> None:
    answer = call(deployed, "PATCH", f"{ROLES}/{make(deployed)}/subjects", 400, patch)
    assert answer["type"].endswith(f"ACL-{code}-400")


def test_several_operations_on_subjects_are_one_change(deployed: Deployment) -> None:
    subjects = f"{ROLES}/{make(deployed)}/subjects"
    client = deployed.new_client().client_id
    patch = [{"op": "add", "path": "/user", "value": client}, {"op": "add", "path": "/user", "value": "unknown"}]
    call(deployed, "PATCH", subjects, 400, patch)
    assert call(deployed, "GET", subjects)["items"] == []


def administrators(deployed: Deployment) -> dict[str, Any]:
    (found,) = call(deployed, "GET", f"{ROLES}?property=name==Administrators")["items"]
    return dict(found)


LOCKING_OUT: dict[str, tuple[str, str, Any]] = {
    "the role goes": ("DELETE", "", None),
    "its permissions go": ("PATCH", "", {"op": "replace", "path": "/permissionSets", "value": "view-datasets"}),
    "its sandboxes go": ("PATCH", "", {"op": "replace", "path": "/sandboxes", "value": "prod"}),
    "it is replaced": (
        "PUT", "", {"name": "A", "description": "", "roleType": "system-defined", "permissionSets": []},
    ),
    "its subject goes": ("PATCH", "/subjects", {"op": "remove", "path": "/user", "value": "ADMIN"}),
    "its subject is replaced": ("PATCH", "/subjects", {"op": "replace", "path": "/user", "value": "OTHER"}),
}  # fmt: skip


@pytest.mark.parametrize("way", LOCKING_OUT)
def test_the_last_administrator_is_not_locked_out(deployed: Deployment, way: str) -> None:
    method, path, body = LOCKING_OUT[way]
    role, other = administrators(deployed), deployed.new_client("manage-access", sandboxes=("prod",))
    names = {"ADMIN": deployed.admin.client_id, "OTHER": other.client_id}
    sent = {key: names.get(value, value) if isinstance(value, str) else value for key, value in (body or {}).items()}
    if way == "its subject is replaced":
        # The other client becomes an administrator by this change, so an administrator remains.
        call(deployed, method, f"{ROLES}/{role['id']}{path}", 200, sent)
        return
    answer = call(deployed, method, f"{ROLES}/{role['id']}{path}", 400, sent or None)
    assert answer["type"].endswith("ACL-1420-400")
    assert administrators(deployed) == role
    deployed.new_client("manage-access", sandboxes=("*",))
    call(deployed, method, f"{ROLES}/{role['id']}{path}", 204 if method == "DELETE" else 200, sent or None)


@pytest.mark.parametrize("sandboxes", [("prod",), ("*",)])
def test_managing_access_needs_its_permission_everywhere(deployed: Deployment, sandboxes: tuple[str, ...]) -> None:
    role = make(deployed)
    other = tuple(one for one in PERMISSIONS if one != MANAGE_ACCESS)
    granted = (MANAGE_ACCESS,) if sandboxes == ("prod",) else other
    calls = [
        ("GET", ROLES, None),
        ("POST", ROLES, NEW | {"name": "mine"}),
        ("GET", f"{ROLES}/{role}", None),
        ("PUT", f"{ROLES}/{role}", NEW),
        ("PATCH", f"{ROLES}/{role}", {"op": "add", "path": "/permissionSets", "value": "*"}),
        ("DELETE", f"{ROLES}/{role}", None),
        ("GET", f"{ROLES}/{role}/subjects", None),
        ("PATCH", f"{ROLES}/{role}/subjects", {"op": "add", "path": "/user", "value": deployed.admin.client_id}),
        ("GET", "/administration/policies", None),
        ("GET", "/administration/policies/x", None),
    ]
    with deployed.acting(deployed.new_client(*granted, sandboxes=sandboxes)):
        for method, path, body in calls:
            answer = call(deployed, method, path, 403, body)
            assert answer["type"].endswith("ACL-2120-403")
            assert "manage-access" in answer["detail"]


def test_roles_are_an_organisations_own(deployed: Deployment) -> None:
    role = make(deployed)
    with deployed.acting(second_organisation(deployed)):
        assert [one["name"] for one in call(deployed, "GET", ROLES)["items"]] == ["Theirs"]
        for method, path, body in (
            ("GET", "", None),
            ("PUT", "", NEW),
            ("PATCH", "", {"op": "add", "path": "/description", "value": "x"}),
            ("DELETE", "", None),
            ("GET", "/subjects", None),
            ("PATCH", "/subjects", {"op": "add", "path": "/user", "value": "x"}),
        ):
            hidden = call(deployed, method, f"{ROLES}/{role}{path}", 404, body)
            assert hidden["type"].endswith("ACL-1439-404")
        mine = call(deployed, "POST", ROLES, 200, NEW)["id"]  # the name is taken elsewhere only
        stranger = {"op": "add", "path": "/user", "value": deployed.admin.client_id}
        call(deployed, "PATCH", f"{ROLES}/{mine}/subjects", 400, stranger)


@pytest.mark.parametrize("role_id", ["x", "a%20b", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_role_is_not_found(deployed: Deployment, role_id: str) -> None:
    call(deployed, "GET", f"{ROLES}/{role_id}", 404)


def test_products_tell_what_roles_are_composed_of(deployed: Deployment) -> None:
    (product,) = call(deployed, "GET", "/administration/products")["products"]
    one = f"/administration/products/{product['id']}"
    names = {category["name"] for category in call(deployed, "GET", f"{one}/categories")["categories"]}
    sets = call(deployed, "GET", f"{one}/permission-sets")["permission-sets"]
    assert {one["id"] for one in sets} == set(PERMISSIONS)
    assert {one["category"] for one in sets} == names
    call(deployed, "GET", "/administration/products/other/categories", 404)
    assert call(deployed, "GET", "/administration/policies")["items"] == []
    call(deployed, "GET", "/administration/policies/x", 404)
    call(deployed, "POST", "/administration/policies", 405, {"name": "x", "rules": []})
