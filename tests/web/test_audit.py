import re
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from offtake.flows import host_key_pinning
from offtake.flows.credentials import open_credentials
from offtake.store.tables import AuditEvent, Connection
from offtake.web import audit_words
from offtake.web.audit_words import Line
from tests.deployment import Deployment
from tests.destinations.cases import by_name
from tests.web.browsing import signed_in, words
from tests.web.importing import CSV, committed, send
from tests.web.test_access import rows
from tests.web.test_accounts import SECRET, form_of, sftp_account

AUDIT = "/ui/prod/access/audit"


def listed(page: str) -> list[str]:
    """The entries of the page, newest first, without their details."""
    return [words(one).strip() for one in re.findall(r'<span class="log-what">(.*?)</span>\n', page, re.DOTALL)]


def test_a_replaced_secret_is_named_but_not_shown(deployed: Deployment) -> None:
    person, row_id = signed_in(deployed), sftp_account(deployed)
    url = f"/ui/prod/accounts/{row_id}/credentials"
    person.post(url, form_of(person, url) | {"c-username": "other", "c-password": "NEWsecret"})
    page = person.get(AUDIT)
    assert listed(page)[0] == "administrator replaced the credentials of account Partner"
    assert re.search(r"Password (after: )?secret replaced", words(page))
    assert "Username" in page
    assert SECRET not in page
    assert "NEWsecret" not in page
    assert (rows(deployed, AuditEvent)[-1].action) == "rotate"
    # The same secret again changes nothing that is secret.
    person.post(url, form_of(person, url) | {"c-username": "third", "c-password": "NEWsecret"})
    assert rows(deployed, AuditEvent)[-1].action == "update"
    for key in ("authorizedDate", "etag", "version", "updatedAt", "lastOperation", "inheritedAttributes"):
        assert key not in person.get(AUDIT)


def test_what_the_server_finds_out_is_its_own_change(deployed: Deployment) -> None:
    row_id = sftp_account(deployed)
    sandbox_location = deployed.backend.sandbox_location(deployed.caller)
    with deployed.backend.database.reading() as session:
        destination = replace(by_name("SFTP"), pin=lambda tried, _place, _at: tried.model_copy(update={"port": 23}))
        tried = open_credentials(deployed.backend.vault, destination, session.scalars(select(Connection)).one())
    host_key_pinning.pin(deployed.backend.pin_store, destination, row_id, tried, None, sandbox_location)
    page = signed_in(deployed).get(AUDIT)
    assert listed(page)[0].startswith("Offtake (the server) changed account Partner")
    assert "Command line" not in words(page)
    assert "Partner" in words(signed_in(deployed).get(f"{AUDIT}?actor=Offtake (the server)"))


def test_an_import_and_an_export_are_one_entry_each(deployed: Deployment) -> None:
    person = signed_in(deployed)
    committed(deployed, person, send(person, ("orders.csv", CSV)).headers["location"])
    found = [one for one in listed(person.get(AUDIT)) if " import " in one]
    assert len(found) == 1, found
    assert found[0].endswith("orders.csv → orders and 1 more")
    assert "started and completed import" in found[0]
    dataset = deployed.import_rows("Customers", [{"id": 1}])
    flow = deployed.flow(dataset)
    (name,) = [one["name"] for one in deployed.get("/flows")["items"]]
    page = person.get(AUDIT)
    assert f"created dataflow {name}" in words(page)
    assert "created place" in words(page)
    assert "Destination " + name not in words(page)
    assert flow in page
    options = words(page.partition("Any action")[2].partition("</select>")[0])
    assert "created" in options
    assert "refresh " not in options
    assert f"created dataflow {name}" in words(person.get(f"{AUDIT}?resource=dataflow"))
    assert "created place" not in words(person.get(f"{AUDIT}?resource=dataflow"))
    person.post(f"/ui/prod/flows/{flow}/delete", {"typed": name})
    assert listed(person.get(AUDIT))[0] == f"administrator deleted dataflow {name} and 2 more"


def test_repetitions_and_backfills_are_named_and_values_are_words() -> None:
    def event(action: str, after: dict[str, Any]) -> AuditEvent:
        return AuditEvent(action=action, resource_type="flows", resource_id="f", resource_name="Orders", after=after)

    def line(action: str, after: dict[str, Any]) -> Line:
        return audit_words.lines([event(action, after)], {})[0]

    assert line("run", {"runId": "r"}).words == "ran"
    assert line("run", {"runId": "r", "repeatedRunId": "q"}).words == "retried"
    assert line("run", {"runId": "r", "backfill": {}}).words == "backfilled"
    after = {
        "scheduleParams": {"exportMode": "DAILY_FULL_EXPORT"},
        "startedAtUTC": 1_796_038_175_762,
        "ids": ["a", "b"],
    }
    values = {one.label: one.after for one in line("create", after).changes}
    assert values["Content"] == "everything each time"
    assert "2026-11-30T11:29:35Z" in values.values()
    assert "a, b" in values.values()
