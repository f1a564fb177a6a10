import html
import re

import pytest

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.landing_zone import credentials
from offtake.store.tables import AuditEvent
from tests.deployment import Deployment
from tests.web.browsing import ORIGIN, signed_in, words
from tests.web.test_access import rows

URL = "/ui/prod/landing-zone"


def test_credentials_are_shown_on_request_and_open_the_zone(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("Orders", [{"id": 1}]))
    deployed.run_due()
    person = signed_in(deployed)
    assert "sig=" not in person.get(URL)
    assert URL in person.get("/ui/prod/destinations")
    assert rows(deployed, AuditEvent)[-1].action != "issue"
    page = person.post(URL, {"do": "show"}, status=200)
    assert page.headers["cache-control"] == "no-store"
    found = re.search(r"<code>(http[^<]+sig=[^<]+)</code>", page.text)
    assert found is not None
    address = html.unescape(found[1])
    assert address.startswith(ORIGIN)
    listed = person.http.get(f"{address}&restype=container&comp=list")
    assert (listed.status_code, b".parquet</Name>" in listed.content) == (200, True)
    assert rows(deployed, AuditEvent)[-1].action == "issue"
    person.post(URL, {"do": "refresh"}, status=200)
    assert person.http.get(f"{address}&restype=container&comp=list").status_code == 403


def test_credentials_need_the_permissions_of_the_api(deployed: Deployment) -> None:
    viewer = signed_in(deployed, deployed.new_client("view-destinations"))
    page = viewer.get(URL)
    assert "Show credentials" not in words(page)
    assert "See datasets" in words(page)
    assert "“See datasets”" in words(viewer.post(URL, {"do": "show"}, status=403).text)
    reader = signed_in(deployed, deployed.new_client("view-destinations", "view-datasets"))
    assert "Replace credentials" not in words(reader.get(URL))
    reader.post(URL, {"do": "refresh"}, status=403)
    reader.post(URL, {"do": "show"}, status=200)
    signed_in(deployed, deployed.new_client("view-datasets")).get(URL, status=403)


def test_a_storage_that_does_not_answer_is_said(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Problem(problems.STORAGE_AWAY, "The storage does not answer.")

    monkeypatch.setattr(credentials, "issue", refuse)
    page = signed_in(deployed).post(URL, {"do": "show"}, status=problems.STORAGE_AWAY.status)
    assert "No credentials were issued. The storage does not answer." in words(page.text)
