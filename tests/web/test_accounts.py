import re
from typing import Any

import pytest
from sqlalchemy import select, update

from offtake.flows import connection_checks
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.tables import Connection, Run
from tests.deployment import Deployment, flow_body
from tests.web.browsing import Visitor, signed_in, words
from tests.web.test_destinations import S3, SFTP, stored

SECRET = "MARKEDsecretMARKED"
HOSTILE = "<b>x</b>" + "segment-" * 60


def sftp_account(deployed: Deployment, name: str = "Partner") -> str:
    auth = {
        "specName": "SFTP with Password",
        "params": {
            "domain": "sftp.partner.example",
            "username": "drop",
            "password": SECRET,
            "hostKeyFingerprint": "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg",
        },
    }
    body = {"name": name, "connectionSpec": {"id": SFTP, "version": "1.0"}, "auth": auth}
    return str(deployed.post("/connections", body)["id"])


def used_account(deployed: Deployment) -> str:
    dataset = deployed.import_rows("Orders", [{"id": 1}])
    flow = deployed.flow(dataset)
    target = deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"][0]
    return str(deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"])


def form_of(person: Visitor, path: str) -> dict[str, Any]:
    """What a browser would send from the page's form of credentials, unchanged."""
    page = person.get(path)
    inputs = re.findall(r'<input type="(?:text|number)" id="f-([^"]+)" name="[^"]+" value="([^"]*)"', page)
    version = re.search(r'name="version" value="([^"]+)"', page)
    assert version is not None
    return dict(inputs) | {"version": version[1]}


def test_accounts_are_searched_filtered_sorted_and_paged(deployed: Deployment) -> None:
    person = signed_in(deployed)
    assert "No accounts yet" in words(person.get("/ui/prod/accounts"))
    sftp_account(deployed, HOSTILE)
    used_account(deployed)
    page = person.get("/ui/prod/accounts")
    assert "<b>x</b>" not in page
    assert "sftp.partner.example:22" in page
    assert "zone" not in words(person.get("/ui/prod/accounts?q=partner.EX"))
    assert "segment" not in words(person.get("/ui/prod/accounts?q=100%25"))
    assert person.get(f"/ui/prod/accounts?destination={SFTP}").count("<tr>") == 2
    assert "No account matches" in words(person.get(f"/ui/prod/accounts?destination={S3}"))
    names = re.findall(r'class="title"[^>]*>([^<]+)', person.get("/ui/prod/accounts?sort=name&order=desc"))
    assert names[0] == "zone"
    for number in range(50):
        sftp_account(deployed, f"Account {number}")
    assert person.get("/ui/prod/accounts").count("<tr>") == 51
    assert person.get("/ui/prod/accounts?from=50").count("<tr>") == 3


def test_an_account_shows_its_params_and_what_uses_it(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get(f"/ui/prod/accounts/{sftp_account(deployed)}")
    assert SECRET not in page
    assert "stored, not shown" in page
    assert "********" not in page
    used = words(person.get(f"/ui/prod/accounts/{used_account(deployed)}"))
    assert "1 dataflow" in used
    assert "target connection" not in used
    person.get("/ui/prod/accounts/nothing", status=404)


def test_the_next_step_after_connecting_is_the_export(deployed: Deployment) -> None:
    person, row_id = signed_in(deployed), sftp_account(deployed)
    page = person.get(f"/ui/prod/accounts/{row_id}?new=1")
    assert page.count("button primary") == 1
    export = re.search(r'button primary" href="([^"]+)"', page)
    assert export is not None
    assert f'<a href="{export[1]}">export datasets to it</a>' in page
    assert "button primary" not in person.get(f"/ui/prod/accounts/{row_id}")
    deployed.import_rows("orders", [{"id": 1}])
    assert "Search datasets" in person.get(export[1].replace("&amp;", "&"))


def test_an_account_is_tested(deployed: Deployment) -> None:
    person = signed_in(deployed)
    works = person.post(f"/ui/prod/accounts/{used_account(deployed)}/test", status=200).text
    assert "The connection works" in words(works)
    url = f"/ui/prod/accounts/{sftp_account(deployed)}/test"
    missing = person.post(url, {"t-remotePath": ""}, status=422).text
    assert re.search(r'id="problem-t-remotePath">', missing)
    failed = person.post(url, {"t-remotePath": "in"}, status=200).text
    assert "does not work yet" in words(failed)


def test_a_test_names_each_right_and_what_cannot_be_guaranteed(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, row_id = signed_in(deployed), used_account(deployed)
    errors = [{"code": "EXPORT-2001-403", "message": f"The right {one} is denied."} for one in ("write", "delete")]
    answers = iter(({"result": False, "errors": errors}, {"result": True, "limits": ["Files cannot be read back."]}))
    monkeypatch.setattr(connection_checks, "run_check", lambda *_: next(answers))
    denied = words(person.post(f"/ui/prod/accounts/{row_id}/test", status=200).text)
    assert "The right write is denied." in denied
    assert "The right delete is denied." in denied
    limited = words(person.post(f"/ui/prod/accounts/{row_id}/test", status=200).text)
    assert "The connection works." in limited
    assert "Files cannot be read back." in limited


def test_an_account_is_renamed_unless_it_was_changed_meanwhile(deployed: Deployment) -> None:
    person = signed_in(deployed)
    url = f"/ui/prod/accounts/{sftp_account(deployed)}"
    version = form_of(person, url)["version"]
    wrong = person.post(f"{url}/details", {"name": "", "description": "", "version": version}, status=422).text
    assert re.search(r'id="problem-name">', wrong)
    person.post(f"{url}/details", {"name": "Loyalty", "description": "Daily", "version": version})
    assert "Loyalty" in words(person.get(url))
    stale = words(
        person.post(f"{url}/details", {"name": "Mine", "description": "", "version": version}, status=412).text
    )
    assert "was changed since this page was loaded" in stale
    assert "Loyalty" in stale
    person.post(f"{url}/details", {"name": "x", "description": "", "version": ""}, status=412)
    person.post(f"{url}/details", {"name": "a\0b", "description": "", "version": version}, status=400)
    person.get("/ui/prod/accounts/%00", status=400)


def test_credentials_are_replaced_and_secrets_are_kept(deployed: Deployment) -> None:
    person = signed_in(deployed)
    row_id = sftp_account(deployed)
    url = f"/ui/prod/accounts/{row_id}/credentials"
    form = form_of(person, url)
    assert SECRET not in person.get(url)
    assert person.post(f"/ui/prod/accounts/{row_id}/check", form, status=200).json() == {}
    person.post(url, form)
    with deployed.backend.database.reading() as session:
        row = session.scalars(select(Connection)).one()
        assert row.auth_sealed is not None
        kept = deployed.backend.vault.decrypt(row.id, row.auth_sealed)
    assert kept["password"] == SECRET
    assert kept["hostKeyFingerprint"].startswith("SHA256:")
    # Another server needs the secret again, and the field says so.
    form = form_of(person, url) | {"c-domain": "elsewhere.example"}
    refused = person.post(url, form, status=422).text
    assert re.search(r"Enter it again: it belongs to what was changed \([A-Z]", words(refused))
    assert re.search(r'id="problem-c-password">', refused)
    field = refused.partition('data-field="c-password"')[2].partition("</div>")[0]
    assert "stored" not in field
    assert "optional" not in field
    assert "required" in field
    found = person.post(f"/ui/prod/accounts/{row_id}/check", form, status=200).json()
    assert list(found) == ["c-password"]
    stale = person.post(url, form | {"version": "0", "c-password": SECRET}, status=412).text
    assert "sftp.partner.example" in words(stale)
    assert SECRET not in stale
    person.post(url, form | {"c-password": SECRET})
    (row,) = stored(deployed)
    assert row.address == "elsewhere.example:22"
    assert "hostKeyFingerprint" not in (row.auth_public or {})


def test_the_pgp_key_is_checked(deployed: Deployment) -> None:
    person = signed_in(deployed)
    url = f"/ui/prod/accounts/{sftp_account(deployed)}"
    form = {"version": form_of(person, url)["version"], "public_key": "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx"}
    assert re.search(r'id="problem-public_key">', person.post(f"{url}/encryption", form, status=422).text)
    person.post(f"{url}/encryption", form | {"public_key": ""})


def test_an_account_is_deleted_after_its_name_was_typed_unless_it_is_used(deployed: Deployment) -> None:
    person = signed_in(deployed)
    used = f"/ui/prod/accounts/{used_account(deployed)}"
    assert 'name="typed"' not in person.get(used)
    assert "Dataflows still deliver" in words(person.post(f"{used}/delete", {"typed": "zone"}, status=422).text)
    url = f"/ui/prod/accounts/{sftp_account(deployed)}"
    assert 'name="typed" value="partner"' in person.post(f"{url}/delete", {"typed": "partner"}, status=422).text
    left = person.post(f"{url}/delete", {"typed": "Partner"}).headers["location"]
    assert "The account is deleted." in words(person.get(left))
    person.get(url, status=404)


def test_who_may_only_look_is_offered_nothing_else(deployed: Deployment) -> None:
    row_id = sftp_account(deployed)
    person = signed_in(deployed, deployed.new_client("view-destinations"))
    page = person.get(f"/ui/prod/accounts/{row_id}")
    assert page.count("<form") == 1  # signing out
    for path in ("test", "details", "credentials", "encryption", "check"):
        person.post(f"/ui/prod/accounts/{row_id}/{path}", {"version": "x", "name": "x"}, status=403)
    person.post(f"/ui/prod/accounts/{row_id}/delete", {"typed": "Partner"}, status=403)
    person.get(f"/ui/prod/accounts/{row_id}/credentials", status=403)
    assert len(stored(deployed)) == 1
    admin = signed_in(deployed)
    admin.csrf = "0" * 64
    admin.post(f"/ui/prod/accounts/{row_id}/details", {"name": "x"}, status=403)


def test_the_connection_to_the_lake_is_not_an_account(deployed: Deployment) -> None:
    used_account(deployed)
    assert signed_in(deployed).get("/ui/prod/accounts").count("<tr>") == 2


def test_a_dataflow_is_deleted_with_its_connections_and_then_its_account(deployed: Deployment) -> None:
    person = signed_in(deployed)
    row_id = used_account(deployed)
    deployed.run_due()
    (flow,) = deployed.get("/flows")["items"]
    (run,) = deployed.runs(flow["id"])
    source, target = flow["sourceConnectionIds"][0], flow["targetConnectionIds"][0]
    person.post(f"/ui/prod/flows/{flow['id']}/delete", {"typed": flow["name"]})
    # Its runs stay in the history.
    assert "1 row" in words(person.get(f"/ui/prod/runs/{run['id']}"))
    person.get("/ui/prod")
    deployed.get(f"/sourceConnections/{source}", status=404)
    deployed.get(f"/targetConnections/{target}", status=404)
    assert "No dataflow delivers through this account yet" in words(person.get(f"/ui/prod/accounts/{row_id}"))
    person.post(f"/ui/prod/accounts/{row_id}/delete", {"typed": "zone"})
    deployed.get(f"/connections/{row_id}", status=404)


def test_connections_that_another_dataflow_uses_stay(deployed: Deployment) -> None:
    person = signed_in(deployed)
    used_account(deployed)
    (flow,) = deployed.get("/flows")["items"]
    source, target = flow["sourceConnectionIds"][0], flow["targetConnectionIds"][0]
    deployed.post("/flows", flow_body(source, target, deployed.clock) | {"name": "Second"})
    person.post(f"/ui/prod/flows/{flow['id']}/delete", {"typed": flow["name"]})
    deployed.get(f"/sourceConnections/{source}")
    deployed.get(f"/targetConnections/{target}")


def test_unused_places_are_removed_but_not_while_a_run_needs_them(deployed: Deployment) -> None:
    person = signed_in(deployed)
    row_id = used_account(deployed)
    (flow,) = deployed.get("/flows")["items"]
    renamed = [{"op": "replace", "path": "/name", "value": "Renamed"}]
    deployed.patch(f"/flows/{flow['id']}", renamed, etag=flow["etag"])
    assert "Renamed" in words(person.get(f"/ui/prod/accounts/{row_id}"))
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    with deployed.backend.database.writing() as session:
        session.execute(update(Run).values(status="processing", lease_owner="elsewhere", heartbeat_counter=1))
    deployed.delete(f"/flows/{flow['id']}")
    page = words(person.get(f"/ui/prod/accounts/{row_id}"))
    assert "No dataflow delivers here any more" in page
    assert "Remove 1 unused place" in page
    viewer = signed_in(deployed, deployed.new_client("view-destinations"))
    assert "Remove 1 unused place" not in words(viewer.get(f"/ui/prod/accounts/{row_id}"))
    viewer.post(f"/ui/prod/accounts/{row_id}/places/remove", status=403)
    target = flow["targetConnectionIds"][0]
    kept = words(person.post(f"/ui/prod/accounts/{row_id}/places/remove", status=409).text)
    assert "A place is still needed" in kept
    assert "still needed" in words(
        person.post(f"/ui/prod/accounts/{row_id}/delete", {"typed": "zone"}, status=422).text
    )
    with deployed.backend.database.writing() as session:
        session.execute(update(Run).values(status="failed"))
    person.post(f"/ui/prod/accounts/{row_id}/places/remove")
    deployed.get(f"/targetConnections/{target}", status=404)


def test_new_credentials_are_tested_before_they_are_stored(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = signed_in(deployed)
    row_id = sftp_account(deployed)
    url = f"/ui/prod/accounts/{row_id}/credentials"
    tried: list[Any] = []

    def run_check(prepared: Any, _pins: Any) -> Any:
        tried.append(prepared.credentials)
        return {"result": True}

    monkeypatch.setattr(connection_checks, "run_check", run_check)
    form = form_of(person, url) | {"do": "test", "c-password": "newSECRET"}
    assert 'id="problem-t-remotePath">' in person.post(url, form | {"t-remotePath": ""}, status=422).text
    answer = person.post(url, form | {"t-remotePath": "in"}, status=200).text
    assert "The connection works" in words(answer)
    assert "newSECRET" not in answer
    assert [one.password.get_secret_value() for one in tried] == ["newSECRET"]
    with deployed.backend.database.reading() as session:
        row = session.scalars(select(Connection)).one()
        assert row.auth_sealed is not None
        assert deployed.backend.vault.decrypt(row.id, row.auth_sealed)["password"] == SECRET
