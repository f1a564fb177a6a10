"""The page for usage and quotas, and the form that sets quotas."""

import re

from offtake.store.usage import month_of
from tests.deployment import Deployment, rows
from tests.usage.asking import label
from tests.web.browsing import fields_of, signed_in, words

QUOTAS = "/data/foundation/flowservice/quotas"
SANDBOX = "/ui/prod/access/sandboxes/prod"


def put_quota(deployed: Deployment, limit: int) -> None:
    answer = deployed.http.put(f"{QUOTAS}/rows", json={"limit": limit})
    assert answer.is_success, answer.text


def quota_fields(page: str) -> dict[str, str]:
    return fields_of(page[page.index(f'action="{SANDBOX}/quotas"') :].partition("</form>")[0])


def limits(deployed: Deployment) -> dict[str, int]:
    return {one["measure"]: one["limit"] for one in deployed.get("/quotas")["items"]}


def test_what_was_delivered_is_shown_by_month_dataset_and_account(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 50)))
    deployed.run_due()
    person = signed_in(deployed)
    page = words(person.get("/ui/prod/usage"))
    assert "Rows 50" in page
    assert "events zone 50" in page
    assert f"{month_of(deployed.clock.ms)} 50" in words(person.get("/ui/prod/usage?by=month"))
    assert "flow 50" in words(person.get("/ui/prod/usage?by=flow"))
    # Values that are not offered count as none.
    assert "events zone 50" in words(person.get("/ui/prod/usage?by=planet&month=1999-01"))


def test_a_quota_that_is_reached_and_the_runs_that_wait_for_it_are_shown(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 50)))
    person = signed_in(deployed)
    assert "This sandbox has no quota." in words(person.get("/ui/prod/usage"))
    put_quota(deployed, 0)
    deployed.run_due()
    shown = person.get("/ui/prod/usage")
    page = words(shown)
    assert "Rows: the quota is reached." in page
    assert "1 run waits for a quota." in page
    assert "0 of 0" in page
    assert '/ui/prod/runs?status=quota"' in shown
    waiting = person.get("/ui/prod/runs?status=quota")
    (run,) = set(re.findall(r'"/ui/prod/runs/([0-9A-Za-z-]+)"', waiting))
    for path in (f"/ui/prod/runs/{run}", f"/ui/prod/flows/{flow}"):
        assert '"/ui/prod/usage#quotas"' in person.get(path), path
    put_quota(deployed, 51)
    assert words(person.get("/ui/prod/usage")).count("0 of 51") == 1
    assert "No run has this state." in words(person.get("/ui/prod/runs?status=quota"))


def test_who_lacks_a_label_sees_no_usage_of_it(deployed: Deployment) -> None:
    dataset = deployed.import_rows("secret events", rows(0, 50))
    deployed.flow(dataset)
    deployed.run_due()
    label(deployed, dataset, "core/C1")
    assert "secret events" in words(signed_in(deployed).get("/ui/prod/usage"))
    person = signed_in(deployed, deployed.new_client("view-destinations"))
    page = words(person.get("/ui/prod/usage"))
    assert "secret events" not in page
    assert "Rows 0" in page


def test_quotas_are_set_and_removed_and_runs_that_waited_start(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 50)))
    put_quota(deployed, 0)
    deployed.run_due()
    person = signed_in(deployed)
    form = quota_fields(person.get(SANDBOX))
    assert (form["was-rows"], form["q-rows"], form["q-bytes"]) == ("0", "0", "")
    wrong = form | {"q-rows": "", "q-bytes": "lots", "q-files": "9" * 18 + "T"}
    refused = words(person.post(f"{SANDBOX}/quotas", wrong, 422).text)
    assert "2 fields need a change. Nothing was stored." in refused
    assert "Bytes is not a limit; give a number such as 5000000, 500G or 1.5T" in refused
    assert "Files must be at most 1,000,000,000,000,000,000" in refused
    assert limits(deployed) == {"rows": 0}
    wanted = form | {"q-rows": "", "q-bytes": "1.5T", "q-computeSeconds": "36000"}
    for _ in range(2):  # a double click
        assert person.post(f"{SANDBOX}/quotas", wanted).headers["location"] == f"{SANDBOX}?quotas=set#quotas"
    assert limits(deployed) == {"bytes": 1_500_000_000_000, "computeSeconds": 36_000}
    assert "The quotas are stored." in words(person.get(f"{SANDBOX}?quotas=set"))
    assert quota_fields(person.get(SANDBOX))["q-bytes"] == "1500G"
    # What was loaded before does not replace what is stored since.
    stale = person.post(f"{SANDBOX}/quotas", form | {"q-bytes": "2T", "q-computeSeconds": "36000"}, 409).text
    assert "Bytes: 1500G" in words(stale)
    assert quota_fields(stale)["q-bytes"] == "2T"
    person.post(f"{SANDBOX}/quotas", quota_fields(stale) | {"q-rows": ""})
    assert limits(deployed) == {"bytes": 2_000_000_000_000, "computeSeconds": 36_000}
    deployed.run_due()
    assert "events zone 50" in words(person.get("/ui/prod/usage"))


def test_who_does_not_manage_the_sandbox_sets_no_quota(deployed: Deployment) -> None:
    person = signed_in(deployed, deployed.new_client("view-destinations", "view-sandboxes"))
    assert "Set a quota" not in person.get("/ui/prod/usage")
    assert f"{SANDBOX}/quotas" not in person.get(SANDBOX)
    person.post(f"{SANDBOX}/quotas", {"q-rows": "5"}, 403)
    assert limits(deployed) == {}
