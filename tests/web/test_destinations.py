import re
from typing import Any

import pytest
from sqlalchemy import select

from offtake.destinations.base import Driver
from offtake.destinations.registry import DESTINATIONS
from offtake.store.tables import Connection
from offtake.web import markdown
from tests.deployment import ZONE, Deployment
from tests.destinations.cases import by_name
from tests.web.browsing import ORIGIN, Visitor, signed_in, words

SECRET = "MARKEDsecretMARKED"
S3 = by_name("Amazon S3").connection_spec_id
SFTP = by_name("SFTP").connection_spec_id
ACCESS_KEY = {"method": "0", "a0-s3AccessKey": "AKIA", "a0-s3SecretKey": SECRET, "a0-endpointUrl": "http://127.0.0.1:1"}


def stored(deployed: Deployment) -> list[Connection]:
    with deployed.backend.database.reading() as session:
        found = list(session.scalars(select(Connection)))
        session.expunge_all()
        return found


def connect(person: Visitor, spec_id: str, form: dict[str, Any], status: int = 303) -> Any:
    return person.post(f"/ui/prod/destinations/{spec_id}/connect", {"do": "save"} | form, status=status)


def test_the_catalog_has_a_card_for_each_destination(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "installed", property(lambda _self: False))
    page = signed_in(deployed).get("/ui/prod/destinations")
    text = words(page)
    for one in DESTINATIONS:
        assert one.guide.summary in text
        assert f"/ui/prod/destinations/{one.connection_spec_id}/connect" in page
        assert f"/ui/prod/export?destination={one.connection_spec_id}" in page
    assert "Ask the operator to install offtake[sftp]" in text
    assert "s3:PutObject" in text
    assert "```" not in page


def test_only_what_is_allowed_is_offered(deployed: Deployment) -> None:
    person = signed_in(deployed, deployed.new_client("view-destinations"))
    page = person.get("/ui/prod/destinations")
    assert "/connect" not in page
    assert "/export?" not in page
    person.get(f"/ui/prod/destinations/{S3}/connect", status=403)
    connect(person, S3, {"name": "A"} | ACCESS_KEY, status=403)
    person.post(f"/ui/prod/destinations/{S3}/check", {"name": "A"}, status=403)
    assert stored(deployed) == []


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.name)
def test_every_destination_has_a_form(deployed: Deployment, destination: Any) -> None:
    page = signed_in(deployed).get(f"/ui/prod/destinations/{destination.connection_spec_id}/connect")
    assert page.count('name="method"') == len(destination.auth_methods)
    for method in destination.auth_methods:
        assert len(destination.auth_methods) == 1 or method.title in page


def test_an_account_is_connected(deployed: Deployment) -> None:
    person = signed_in(deployed)
    form = {"name": "Acme <b>", "description": "For CRM", "next": "/ui/prod/export?destination=x", "key": "once"}
    location = connect(person, S3, form | ACCESS_KEY).headers["location"]
    assert connect(person, S3, form | ACCESS_KEY).headers["location"] == location
    (row,) = stored(deployed)
    assert location == f"/ui/prod/export?destination=x&account={row.id}"
    assert (row.name, row.auth_public["s3SecretKey"]) == ("Acme <b>", "********")  # type: ignore[index] # it has params
    assert deployed.get(f"/connections/{row.id}")["items"][0]["auth"]["specName"] == "Access Key"
    other = connect(person, ZONE, {"name": "Zone", "next": "https://evil.example/"}).headers["location"]
    assert re.fullmatch(r"/ui/prod/accounts/[0-9a-f-]+\?new=1", other)
    assert "The account is connected" in words(person.get(other))


def test_problems_stand_next_to_their_fields_and_secrets_never_come_back(deployed: Deployment) -> None:
    person = signed_in(deployed)
    form = {"method": "1", "a1-domain": "d", "a1-port": "0", "a1-sshKey": SECRET, "a0-password": SECRET}
    answer = connect(person, SFTP, form | {"public_key": "no key"}, status=422).text
    assert SECRET not in answer
    for name in ("name", "a1-username", "a1-port", "a1-sshKey", "public_key"):
        assert re.search(rf'id="problem-{name}">', answer), name
    assert 'value="1" checked' in answer
    assert 'value="d"' in answer
    assert stored(deployed) == []
    connect(person, "nothing", {"name": "A"}, status=404)
    person.csrf = "0" * 64
    connect(person, S3, {"name": "A"} | ACCESS_KEY, status=403)


def test_fields_are_checked_without_being_stored(deployed: Deployment) -> None:
    person = signed_in(deployed)
    answer = person.post(f"/ui/prod/destinations/{S3}/check", ACCESS_KEY | {"a0-region": "NO REGION"}, status=200)
    assert answer.json() == {"name": "is required", "a0-region": "is not valid; an example: eu-central-1"}
    assert SECRET not in answer.text
    person.csrf = ""
    sent = person.http.post(f"{ORIGIN}/ui/prod/destinations/{S3}/check", data=ACCESS_KEY, headers=person.headers)
    assert sent.status_code == 403
    assert stored(deployed) == []


def test_a_connection_is_tested_before_it_is_stored(deployed: Deployment) -> None:
    person = signed_in(deployed)
    form = ACCESS_KEY | {"do": "test"}
    without = connect(person, S3, form, status=422).text
    assert re.search(r'id="problem-t-bucketName">', without)
    answer = connect(person, S3, form | {"t-bucketName": "partner", "t-path": "x"}, status=200).text
    assert "The connection does not work yet" in words(answer)
    assert "EXPORT-2003-504" in answer
    assert SECRET not in answer
    assert stored(deployed) == []


def test_guides_are_shown_without_their_markup() -> None:
    found = markdown.parts("Use `a` and *b*, see [the page](x.md).\n\n```sh\nrun `x` *y*\n```\n\nEnd.")
    assert found[0].pieces == (("Use ", False), ("a", True), (" and b, see the page.", False))
    assert (found[1].code, found[2].pieces) == ("run `x` *y*", (("End.", False),))
