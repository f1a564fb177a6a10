import re
from typing import Any

import pytest
from sqlalchemy import select

from offtake.flows import connection_checks
from offtake.store.tables import Connection
from tests.deployment import Deployment
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
    assert "target" in used
    person.get("/ui/prod/accounts/nothing", status=404)


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
    wrong = person.post(f"{url}/details", {"name": "", "version": version}, status=422).text
    assert re.search(r'id="problem-name">', wrong)
    person.post(f"{url}/details", {"name": "Loyalty", "description": "Daily", "version": version})
    assert "Loyalty" in words(person.get(url))
    stale = words(person.post(f"{url}/details", {"name": "Mine", "version": version}, status=412).text)
    assert "was changed since this page was loaded" in stale
    assert "Loyalty" in stale
    person.post(f"{url}/details", {"name": "x", "version": ""}, status=412)
    person.post(f"{url}/details", {"name": "a\0b", "version": version}, status=400)
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
    assert "must be sent again" in words(refused)
    assert re.search(r'id="problem-c-password">', refused)
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
    assert "Flows still use connection" in words(person.post(f"{used}/delete", {"typed": "zone"}, status=422).text)
    url = f"/ui/prod/accounts/{sftp_account(deployed)}"
    person.post(f"{url}/delete", {"typed": "partner"}, status=422)
    person.post(f"{url}/delete", {"typed": "Partner"})
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
