import re
from typing import Any

import pytest
from sqlalchemy import select

from offtake.access import clients, permissions
from offtake.contract.caller import PERMISSIONS
from offtake.store.tables import AuditEvent, Client, Role, RoleSubject, Sandbox
from tests.deployment import Deployment
from tests.web.browsing import Visitor, signed_in, words

WHOLE = {"description": "", "labels": "", "boxes": "sent"}
"""What a browser sends of the form of a role, also when nothing was entered."""
HOSTILE = "<b>x</b>" + "segment-" * 25


def rows(deployed: Deployment, table: Any) -> list[Any]:
    with deployed.backend.database.reading() as session:
        found = list(session.scalars(select(table)))
        session.expunge_all()
        return found


def administrators(deployed: Deployment) -> str:
    return next(str(one.id) for one in rows(deployed, Role) if one.name == clients.ADMINISTRATORS)


def new_client(person: Visitor, name: str = "Partner sync", **form: Any) -> str:
    page = person.get("/ui/prod/access/new-client")
    found = re.search(r'name="client_id" value="([0-9a-f]+)"', page)
    assert found is not None
    sent = {"client_id": found[1], "name": name, "kind": "service"} | form
    answer = person.post("/ui/prod/access/new-client", sent, status=200).text
    secret = re.search(r"p8e-[\w-]+", answer)
    assert secret is not None
    assert "shown this once" in words(answer)
    # Sent again, for example by a reload, it creates nothing and shows no secret.
    again = person.post("/ui/prod/access/new-client", sent, status=422).text
    assert "already exists" in words(again)
    assert "p8e-" not in again
    return found[1]


@pytest.mark.parametrize(
    ("permission", "everywhere", "tabs"),
    [
        ("manage-access", True, ["Clients", "Roles"]),
        ("manage-access", False, []),
        ("view-sandboxes", False, ["Sandboxes"]),
        ("view-audit-log", False, ["Audit log"]),
        ("view-destinations", True, []),
    ],
)
def test_each_tab_is_for_those_with_its_permission(
    deployed: Deployment, permission: str, everywhere: bool, tabs: list[str]
) -> None:
    person = signed_in(
        deployed, deployed.new_client(permission, "view-destinations", sandboxes=("*",) if everywhere else ("prod",))
    )
    assert (">Access<" in person.get("/ui/prod").replace(" Access</a>", ">Access<")) == bool(tabs)
    for tab in ("Clients", "Roles", "Audit log"):
        path = f"/ui/prod/access/{tab.split()[0].lower()}"
        page = person.get(path, status=200 if tab in tabs else 403)
        assert (
            tab not in tabs
            or [one for one in ("Clients", "Roles", "Sandboxes", "Audit log") if f">{one}</a>" in page] == tabs
        )
    if tabs:
        location = person.http.get("http://localhost/ui/prod/access", follow_redirects=False).headers["location"]
        assert location == f"/ui/prod/access/{tabs[0].split()[0].lower()}"
    else:
        person.get("/ui/prod/access", status=403)


def test_a_secret_is_shown_once_and_works(deployed: Deployment) -> None:
    person = signed_in(deployed)
    client_id = new_client(person, roles=[clients.ADMINISTRATORS])
    url = f"/ui/prod/access/clients/{client_id}"
    page = person.get(url)
    assert "p8e-" not in page
    assert clients.ADMINISTRATORS in words(page)
    answer = person.post(url, {"action": "rotate", "rotated": ""}, status=200).text
    secret = re.search(r"p8e-[\w-]+", answer)
    assert secret is not None
    with deployed.backend.database.reading() as session:
        row = session.get_one(Client, client_id)
        assert clients.secret_matches(clients.stored_hash(row), secret[0])
    stale = person.post(url, {"action": "rotate", "rotated": ""}, status=409).text
    assert "rotated since this page was loaded" in words(stale)
    assert "p8e-" not in stale


def test_a_client_is_revoked_after_its_name_was_typed(deployed: Deployment) -> None:
    person = signed_in(deployed)
    client = new_client(person, HOSTILE)
    url = f"/ui/prod/access/clients/{client}"
    page = person.get(url)
    assert "<b>x</b>" not in page
    assert "for ever" in words(page)
    assert "Nothing was changed: type" in words(person.post(url, {"action": "revoke", "typed": "x"}, status=422).text)
    person.post(url, {"action": "revoke", "typed": client})
    assert "Revoked" in words(person.get(url))
    assert len(rows(deployed, AuditEvent)) == 2
    assert "Partner" not in words(person.get("/ui/prod/access/clients?state=active&q=segment"))
    assert "No client matches" in words(person.get("/ui/prod/access/clients?state=active&q=segment"))
    person.get("/ui/prod/access/clients/nothing", status=404)
    person.post(url, {"action": "dance"}, status=400)


def test_the_last_administrator_stays(deployed: Deployment) -> None:
    person, role = signed_in(deployed), administrators(deployed)
    url, own = f"/ui/prod/access/roles/{role}", f"/ui/prod/access/clients/{deployed.admin.client_id}"
    rule = "No client could manage access after this change."
    version = next(one.updated_at for one in rows(deployed, Role))
    form = WHOLE | {"name": "Administrators", "version": str(version), "sandboxes": ["*"]}
    assert rule in words(person.post(url, form | {"permissions": ["view-datasets"]}, status=422).text)
    assert rule in words(
        person.post(f"{url}/subjects", {"op": "remove", "client": deployed.admin.client_id}, status=422).text
    )
    assert rule in words(person.post(f"{url}/delete", {"typed": clients.ADMINISTRATORS}, status=422).text)
    assert rule in words(person.post(own, {"action": "ungrant", "role": role}, status=422).text)
    assert rule in words(person.post(own, {"action": "revoke", "typed": "administrator"}, status=422).text)
    assert len(rows(deployed, RoleSubject)) == 1


def test_a_role_is_created_changed_granted_and_deleted(deployed: Deployment) -> None:
    person = signed_in(deployed)
    form = WHOLE | {
        "name": "Exporters",
        "permissions": ["view-datasets"],
        "sandboxes": ["prod"],
        "labels": "finance\nC2\n\n",
    }
    created = person.post("/ui/prod/access/new-role", form).headers["location"]
    assert "Saved." in words(person.get(created))
    url = created.partition("?")[0]
    (row,) = [one for one in rows(deployed, Role) if one.name == "Exporters"]
    assert (row.permissions, row.sandboxes, row.labels) == (["view-datasets"], ["prod"], ["finance", "C2"])
    assert "already exists" in words(person.post("/ui/prod/access/new-role", form, status=422).text)
    wrong = words(
        person.post(
            "/ui/prod/access/new-role",
            WHOLE | {"name": "", "permissions": ["dance"], "sandboxes": ["moon"]},
            status=422,
        ).text
    )
    assert "Name" in wrong
    page = person.get(url)
    assert all(meaning in words(page) for meaning in permissions.MEANINGS.values())
    assert re.search(r'value="view-datasets" checked', page)
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version is not None
    deployed.clock.advance(seconds=1)
    changed = form | {"version": version[1], "description": "new", "sandboxes": ["*"]}
    saved = person.post(url, changed).headers["location"]
    assert "Saved." in words(person.get(saved))
    assert "Saved." not in words(person.get(url))
    stale = words(person.post(url, changed | {"name": "Mine"}, status=409).text)
    assert "was changed since this page was loaded" in stale
    assert "The stored one: Exporters" in stale
    client_id = new_client(person)
    person.post(f"{url}/subjects", {"op": "add", "client": client_id})
    assert "Partner sync" in words(person.get(url))
    assert "does not exist" in words(person.post(f"{url}/subjects", {"op": "add", "client": "none"}, status=422).text)
    person.post(f"{url}/subjects", {"op": "remove", "client": client_id})
    person.post(f"{url}/delete", {"typed": "Wrong"}, status=422)
    person.post(f"{url}/delete", {"typed": "Exporters"})
    person.get(url, status=404)


def test_every_permission_has_words() -> None:
    assert set(permissions.MEANINGS) == set(permissions.TITLES) == set(PERMISSIONS)


@pytest.mark.parametrize(
    ("granted", "sandboxes", "warned"),
    [
        (["manage-and-activate-dataset-destinations"], ["prod"], "“Export datasets” also needs “See destinations” and"),
        (["manage-and-activate-dataset-destinations", "view-destinations"], ["prod"], "also needs “See datasets”,"),
        (["manage-access"], ["prod"], "no effect without all sandboxes"),
        (["view-datasets"], [], "Without a sandbox"),
        (["*"], ["*"], ""),
        (["view-destinations", "manage-destinations"], ["prod"], ""),
    ],
)
def test_a_role_without_what_its_permissions_need_is_saved_with_a_warning(
    deployed: Deployment, granted: list[str], sandboxes: list[str], warned: str
) -> None:
    person = signed_in(deployed)
    form = WHOLE | {"name": "Partial", "permissions": granted, "sandboxes": sandboxes}
    page = words(person.get(person.post("/ui/prod/access/new-role", form).headers["location"]))
    assert "Saved." in page
    assert ("have no full effect" in page) == bool(warned)
    assert warned in page


def test_new_roles_start_with_a_template(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get("/ui/prod/access/new-role?template=viewer")
    assert 'value="Viewer"' in page
    assert re.findall(r'name="permissions" value="([^"]+)" checked', page) == ["view-destinations", "view-datasets"]
    assert 'name="permissions" value="view-datasets" checked' not in person.get("/ui/prod/access/new-role?template=x")


def test_no_role_is_granted_by_accident_and_clients_are_chosen_by_name(deployed: Deployment) -> None:
    person = signed_in(deployed)
    client_id = new_client(person)
    url = f"/ui/prod/access/clients/{client_id}"
    page = person.get(url)
    assert page.index("Choose a role") < page.index(f'<option value="{clients.ADMINISTRATORS}">')
    assert "Choose a role." in words(person.post(url, {"action": "grant", "role": ""}, status=422).text)
    role = person.get(f"/ui/prod/access/roles/{administrators(deployed)}")
    assert f'<option value="{client_id}">Partner sync</option>' in role
    assert f'<option value="{deployed.admin.client_id}"' not in role
    assert "/access/new-role" in person.get("/ui/prod/access/new-client")


def test_a_refusal_names_the_permission_in_words(deployed: Deployment) -> None:
    person = signed_in(deployed, deployed.new_client("view-destinations"))
    page = words(person.get("/ui/prod/access/audit", status=403))
    assert "You may not see the audit log. Ask an administrator for the permission “See the audit log”" in page
    assert "view-audit-log" not in page
    assert "“Manage access” in all sandboxes" in words(person.get("/ui/prod/access/clients", status=403))
    # The API's message has the permission's name.
    with deployed.acting(deployed.new_client("view-destinations")):
        refused = deployed.post("/connections", {"name": "x"}, status=403)
    assert "manage-destinations" in str(refused)


def test_a_sandbox_is_created_renamed_and_deleted(deployed: Deployment) -> None:
    person = signed_in(deployed)
    person.post("/ui/prod/access/new-sandbox", {"name": "Dev!", "title": "", "type": "development"}, status=422)
    url = person.post("/ui/prod/access/new-sandbox", {"name": "dev", "title": HOSTILE, "type": "development"}).headers[
        "location"
    ]
    taken = person.post("/ui/prod/access/new-sandbox", {"name": "dev", "title": "x", "type": "development"}, status=422)
    assert "already exists" in words(taken.text)
    page = person.get(url)
    assert "0 dataflows (0 enabled, which stop delivering)" in words(page)
    person.post(f"{url}/rename", {"title": "Development", "revision": "1"})
    assert "was changed since" in words(person.post(f"{url}/rename", {"title": "x", "revision": "1"}, status=409).text)
    assert "Development" in words(person.get("/ui/prod/access/sandboxes?q=devel"))
    person.post(f"{url}/reset", {"typed": "prod"}, status=422)
    # The sandbox of the page cannot be entered any more: the answer leads to another one.
    answer = person.post("/ui/dev/access/sandboxes/dev/delete", {"typed": "dev"}, status=202)
    assert "is being deleted" in words(answer.text)
    assert 'href="/ui/prod"' in answer.text
    assert {one.name: one.state for one in rows(deployed, Sandbox)} == {"prod": "active", "dev": "deleting"}
    assert "cannot be deleted" in words(person.get("/ui/prod/access/sandboxes/prod"))


def test_what_is_not_allowed_is_not_offered_and_refused(deployed: Deployment) -> None:
    person = signed_in(deployed, deployed.new_client("view-sandboxes", "view-audit-log", sandboxes=("prod",)))
    page = person.get("/ui/prod/access/sandboxes")
    assert "Create a sandbox" not in page
    detail = person.get("/ui/prod/access/sandboxes/prod")
    assert "Reset" not in detail
    assert "Rename" not in detail
    refused = [
        ("access/sandboxes/prod/reset", {"typed": "prod"}),
        ("access/sandboxes/prod/rename", {"title": "x", "revision": "1"}),
        ("access/new-sandbox", {"name": "dev", "title": "Dev", "type": "development"}),
        ("access/new-client", {"name": "x", "client_id": "abc"}),
        (f"access/clients/{deployed.admin.client_id}", {"action": "rotate", "rotated": ""}),
        ("access/new-role", WHOLE | {"name": "x"}),
        (f"access/roles/{administrators(deployed)}/delete", {"typed": "Administrators"}),
    ]
    for path, form in refused:
        person.post(f"/ui/prod/{path}", form, status=403)
    assert len(rows(deployed, AuditEvent)) == 0
    admin = signed_in(deployed)
    admin.csrf = "0" * 64
    admin.post("/ui/prod/access/new-role", {"name": "x"}, status=403)


def test_the_audit_log_is_filtered_and_paged(deployed: Deployment) -> None:
    person = signed_in(deployed)
    for number in range(52):
        person.post("/ui/prod/access/new-role", WHOLE | {"name": f"Role {number}", "sandboxes": ["prod"]})
        deployed.clock.advance(seconds=1)
    page = person.get("/ui/prod/access/audit")
    assert "Role 51" in page
    assert "Role 1<" not in page
    older = re.search(r'href="([^"]*older=[^"]*)"', page)
    assert older is not None
    assert "Role 1<" in person.get(older[1].replace("&amp;", "&"))
    found = words(person.get("/ui/prod/access/audit?resource=Role 7&actor=administrator&action=create"))
    assert "administrator created role Role 7" in found
    assert "sandboxes" in found
    day = deployed.clock.now_ms() // 1000
    for query, matches in (
        ("actor=nothing", False),
        ("action=delete", False),
        ("until=2001-01-01", False),
        (f"since={day - 60}000", True),
    ):
        text = words(person.get(f"/ui/prod/access/audit?{query}"))
        assert ("No change matches" not in text) == matches
    assert "must be epoch milliseconds" in words(person.get("/ui/prod/access/audit?since=tomorrow", status=422))


def test_lists_are_bounded(deployed: Deployment) -> None:
    person = signed_in(deployed)
    with deployed.backend.database.writing() as session:
        for number in range(60):
            clients.new_client(session, deployed.admin.org_id, f"c{number}", "user", number + 1)
    page = person.get("/ui/prod/access/clients")
    assert page.count("<tr>") == 51
    assert "from=50" in page
    assert person.get("/ui/prod/access/clients?from=50").count("<tr>") == 12
