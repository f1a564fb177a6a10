"""The page for usage and quotas."""

from offtake.store.usage import month_of
from tests.deployment import Deployment, rows
from tests.usage.asking import label
from tests.web.browsing import signed_in, words

QUOTAS = "/data/foundation/flowservice/quotas"


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
    deployed.flow(deployed.import_rows("events", rows(0, 50)))
    person = signed_in(deployed)
    assert "This sandbox has no quota." in words(person.get("/ui/prod/usage"))
    answer = deployed.http.put(f"{QUOTAS}/rows", json={"limit": 0})
    assert answer.is_success, answer.text
    deployed.run_due()
    page = words(person.get("/ui/prod/usage"))
    assert "Rows: the quota is reached." in page
    assert "1 run waits for a quota." in page
    assert "0 of 0" in page


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
