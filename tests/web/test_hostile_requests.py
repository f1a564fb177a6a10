"""Requests that no browser sends: they are refused in a sentence, and nothing is written or logged as an error."""

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.datastructures import FormData

from offtake.destinations.zones import CONTAINERS
from offtake.sandboxes.sandboxes import RESERVED
from offtake.store.tables import Label, Role
from offtake.web.app import ROUTERS, begin
from offtake.web.typed_names import name_to_type, wrong_name
from tests.deployment import ZONE, Deployment
from tests.web.browsing import ORIGIN, signed_in, visitor, words

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648"
FAMILY = "\N{MAN}\u200d\N{WOMAN}"
ANY = "11111111-1111-4111-8111-111111111111"


def posts() -> Iterator[str]:
    """The paths of all forms, with made-up ids."""
    for route in routes():
        if "POST" in (route.methods or ()):
            yield route.path.replace("{sandbox}", "prod").replace("{section}", "name").replace("{", "").replace("}", "")


def routes() -> Iterator[APIRoute]:
    for router in ROUTERS:
        yield from (route for route in router.routes if isinstance(route, APIRoute))


BODIES: dict[str, tuple[str, bytes]] = {
    "multipart without a boundary": ("multipart/form-data", b"--x\r\n\r\n"),
    "multipart without parts": ("multipart/form-data; boundary=x", b"nothing"),
    "a file": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="csrf"; filename="a"\r\n\r\nz\r\n--x--\r\n',
    ),
    "a part without a name": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nz\r\n--x--\r\n",
    ),
    "too many fields": ("application/x-www-form-urlencoded", b"a=1&" * 2500),
    "NUL": ("application/x-www-form-urlencoded", b"client_id=a%00b&csrf=%00"),
    "bytes that are not UTF-8": ("application/x-www-form-urlencoded", b"client_id=%ff%fe&name=%ff"),
    "JSON": ("application/json", b'{"csrf": 1}'),
    "nothing": ("application/x-www-form-urlencoded", b""),
}


@pytest.mark.parametrize("name", BODIES)
def test_no_form_fails_for_a_body_that_no_browser_sends(
    deployed: Deployment, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    person = signed_in(deployed)
    kind, body = BODIES[name]
    paths = list(posts())
    assert len(paths) > 30
    for path in paths:
        for who in (person, visitor(deployed)):
            answer = who.http.post(ORIGIN + path, content=body, headers={**who.headers, "content-type": kind})
            assert answer.status_code < 500, (path, words(answer.text))
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []


def test_text_that_no_database_stores_is_refused_wherever_it_is_in_an_address(deployed: Deployment) -> None:
    person = signed_in(deployed)
    for path in (
        "flows?q=a%00b",
        "export?account=a%00b",
        "datasets/import?dataset=%00",
        "flows/a%00b",
        "accounts?%00=1",
    ):
        assert "NUL" in words(person.get(f"/ui/prod/{path}", 400)), path


@pytest.mark.parametrize("origin", ["http://[", "null", "https://other.example", "::"])
def test_an_origin_that_is_not_this_server_is_refused(deployed: Deployment, origin: str) -> None:
    person = signed_in(deployed)
    headers = {"accept": "text/html", "origin": origin}
    answer = person.http.post(f"{ORIGIN}/ui/sign-out", data={"csrf": person.csrf}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in words(answer.text)


def test_every_answer_has_the_security_headers(deployed: Deployment) -> None:
    person = signed_in(deployed)
    for path in (
        "",
        "/flows",
        "/flows/nothing",
        "/runs/nothing/manifest",
        "/runs/nothing/files/1",
        "/runs/nothing/live",
    ):
        answer = person.http.get(f"{ORIGIN}/ui/prod{path}", headers=person.headers)
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path


@pytest.mark.parametrize("number", ["99999999999999999999999", "-1", "x"])
def test_a_file_has_a_number(deployed: Deployment, number: str) -> None:
    signed_in(deployed).get(f"/ui/prod/runs/{ANY}/files/{number}", 400)


def test_no_sandbox_has_a_name_that_is_an_address_of_its_own(deployed: Deployment) -> None:
    first_steps = {route.path.removeprefix("/ui/").split("/")[0] for route in routes() if route.path.startswith("/ui/")}
    # The blob service's addresses are `/ACCOUNT/CONTAINER`, and an account may be named `ui`.
    assert {*first_steps, *CONTAINERS.values()} - {"{sandbox}"} <= set(RESERVED)
    for name in RESERVED:
        answer = deployed.http.post(
            "/data/foundation/sandbox-management/sandboxes", json={"name": name, "title": "x", "type": "development"}
        )
        assert answer.status_code == 400, name
        assert "reserved" in answer.text


def test_names_with_joiners_are_found(deployed: Deployment) -> None:
    deployed.import_rows(f"{PERSIAN} {FAMILY} a\u00a0b", [{"id": 1}])
    person = signed_in(deployed)
    for part in (PERSIAN, FAMILY, "a\u00a0b"):
        assert FAMILY in words(person.get(f"/ui/prod/datasets?q={part}"))


def test_a_page_names_few_sandboxes_and_leads_to_the_others(deployed: Deployment) -> None:
    for number in range(25):
        body = {"name": f"space-{number:02}", "title": f"Space {number:02}", "type": "development"}
        assert deployed.http.post("/data/foundation/sandbox-management/sandboxes", json=body).is_success
    person = signed_in(deployed)
    page = words(person.get("/ui/prod/flows"))
    assert page.count("Space ") <= 21
    assert "All sandboxes" in page
    assert "Space 24" in words(person.get("/ui/space-24/flows"))


def test_forms_that_lack_fields_or_offer_no_such_value_reset_nothing(deployed: Deployment) -> None:
    person = signed_in(deployed)
    dataset = deployed.import_rows("orders", [{"id": 1}])
    flow = deployed.flow(dataset)
    spec = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}
    auth = {"specName": "Access Key", "params": {"s3AccessKey": "AKIA", "s3SecretKey": "x"}}
    account = deployed.post("/connections", {"name": "partner", "connectionSpec": spec, "auth": auth})["id"]
    with deployed.backend.database.reading() as session:
        role = session.scalars(select(Role)).one()
    before = deployed.get(f"/flows/{flow}"), deployed.get(f"/connections/{account}")
    version = {"version": str(role.updated_at)}
    for path, status in (
        (f"accounts/{account}/encryption", 400),
        (f"accounts/{account}/details", 400),
        (f"datasets/{dataset}/evolves", 400),
        (f"access/roles/{role.id}/subjects", 400),
        (f"access/roles/{role.id}", 422),
    ):
        assert "was not sent" in words(person.post(f"/ui/prod/{path}", version, status=status).text), path
    form = {"every": "hours", "hours": "3", "begin": "later", "ends": "never", "start_date": "2027-01-01"}
    for name, value in (("every", "weekly"), ("begin", "soon"), ("ends", "once"), ("hours", "9" * 5000)):
        person.post(f"/ui/prod/flows/{flow}/settings", form | {name: value}, status=422)
    person.post(f"/ui/prod/flows/{flow}/settings", {"version": "x"})
    person.post(f"/ui/prod/flows/{flow}/backfill", {"what": "all", "to_date": "9999-12-31"}, status=422)
    assert (deployed.get(f"/flows/{flow}"), deployed.get(f"/connections/{account}")) == before


def test_a_form_that_is_sent_twice_creates_one_thing_and_another_form_another(deployed: Deployment) -> None:
    person = signed_in(deployed)
    dataset = deployed.import_rows("orders", [{"id": 1}])
    export = {"destination": ZONE, "account": "new", "dataset": dataset, "t-datasetFileType": "PARQUET", "step": "5"}
    export |= {"t-compression": "GZIP", "t-path": "x", "every": "daily", "ends": "never", "key": "k", "name": "First"}
    first = person.post("/ui/prod/export", export).headers["location"]
    # What was remembered in the process is gone.
    begin(deployed.http.app)
    assert person.post("/ui/prod/export", export).headers["location"] == first
    second = person.post("/ui/prod/export", export | {"name": "Second"}).headers["location"]
    again = person.post("/ui/prod/export", export | {"key": "other"}).headers["location"]
    assert len({first, second, again}) == 3
    assert sorted(one["name"] for one in deployed.get("/flows")["items"]) == ["First", "First", "Second"]


def test_datasets_that_a_person_may_not_see_stay_in_the_dataflow(deployed: Deployment) -> None:
    seen, hidden = (deployed.import_rows(name, [{"id": 1}]) for name in ("seen", "hidden"))
    flow = deployed.flow(seen, hidden)
    with deployed.backend.database.writing() as session:
        session.add(Label(entity_id=hidden, label="C9"))
    names = ("view-destinations", "view-datasets", "manage-and-activate-dataset-destinations")
    person = signed_in(deployed, deployed.new_client(*names))
    page = person.get(f"/ui/prod/flows/{flow}/settings")
    assert "And 1 more that your roles do not show" in words(page)
    version = dict(re.findall(r'name="((?:target_)?version)" value="([^"]+)"', page))
    form = version | {"datasets": "shown", "dataset": seen}
    person.post(f"/ui/prod/flows/{flow}/settings", form | {"description": "new"})
    other = deployed.import_rows("other", [{"id": 1}])
    refused = person.post(f"/ui/prod/flows/{flow}/settings", form | {"dataset": other}, status=422)
    assert "do not show all datasets" in words(refused.text)
    source = deployed.get(f"/flows/{flow}")["items"][0]["sourceConnectionIds"][0]
    exported = deployed.get(f"/sourceConnections/{source}")["items"][0]["params"]["datasets"]
    assert {one["dataSetId"] for one in exported} == {seen, hidden}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Größe täglich", "Größe täglich"),
        ("Gro\u0308ße", "Größe"),
        ("a  b", None),
        ("a\u00a0b", None),
        ("a\tb", None),
        ("q\u200bz", None),
        ("x\u202ez", None),
        ("n" * 200, None),
    ],
)
def test_what_is_to_be_typed_can_be_typed(name: str, typed: str | None) -> None:
    wanted = name_to_type(name, ANY)
    assert wanted == (typed or ANY)
    assert wrong_name(FormData({"typed": wanted}), name, ANY) == ""
    assert "Nothing was changed" in wrong_name(FormData({"typed": "x"}), name, ANY)
