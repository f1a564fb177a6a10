"""`offtake apply` and `diff`, in the same process and over the network: plans, changes, sets, and the round trip."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from offtake.declarations import executing
from offtake.declarations.context import Context
from offtake.declarations.executing import Report
from offtake.declarations.plan import Plan
from offtake.store.tables import Watermark
from tests.cli.applying import WAYS, Applying, applying, fields
from tests.deployment import Deployment, rows

pytestmark = pytest.mark.matrix(one_in=2)

ZONE = "kind: connection\nname: zone\ndestination: landing-zone\n---\n"
EVENTS = "kind: flow\nname: events\ndataset: events\nto: zone\npath: out\nformat: parquet\nevery: 3h\n---\n"
DAILY = """
kind: flow
name: daily
datasets: [events]
to: zone
path: daily
format: json
daily: "06:00"
end: never
state: disabled
folder: "%DATASET_NAME%/%DATETIME(YYYYMMdd)%"
---
"""
S3 = """
kind: connection
name: store
destination: s3
auth: access-key
params:
  s3AccessKey: {key}
  s3SecretKey: env:STORE_SECRET
  endpointUrl: http://127.0.0.1:9
---
"""
TO_STORE = EVENTS.replace("to: zone", "to: store\nbucket: deliveries")


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest,
    deployed: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Applying]:
    monkeypatch.setenv("STORE_SECRET", "a-secret-of-the-store")
    deployed.import_rows("events", rows(0, 5))
    with applying(request.param, deployed, tmp_path, capsys, monkeypatch) as found:
        yield found


def flow_named(deployed: Deployment, name: str) -> Any:
    (found,) = (one for one in deployed.get("/flows")["items"] if one["name"] == name)
    return found


def positions(deployed: Deployment) -> dict[tuple[str, str], int | None]:
    with deployed.backend.database.reading() as session:
        return {(one.flow_id, one.dataset_id): one.snapshot_id for one in session.scalars(select(Watermark))}


def test_what_is_applied_differs_no_more(way: Applying, deployed: Deployment) -> None:
    text = ZONE + EVENTS + DAILY
    assert set(way.actions(text).values()) == {"create"}
    out = way.apply(text)
    assert "+ flow events\n" in out
    assert "3 to create" in out
    assert set(way.actions(text).values()) == {"nothing"}
    assert way.apply(text) == "Plan: 3 unchanged.\n"
    daily = flow_named(deployed, "daily")
    assert daily["state"] == "disabled"
    assert "endTime" not in daily["scheduleParams"]
    assert daily["scheduleParams"]["startTime"] % 86_400 == 6 * 3600
    assert deployed.runs(daily["id"]) == []
    assert len(deployed.get("/sourceConnections")["items"]) == 1
    assert len(deployed.get("/targetConnections")["items"]) == 2


def test_a_dry_run_and_a_question_change_nothing(way: Applying, deployed: Deployment) -> None:
    file = way.write(ZONE + EVENTS)
    code, out, _ = way.run("apply", "-f", file, "--dry-run")
    assert (code, "2 to create" in out) == (0, True)
    code, _, err = way.run("apply", "-f", file)
    assert (code, "confirm it with --yes" in err) == (1, True)
    assert deployed.get("/connections")["items"] == []


def test_changes_are_shown_with_old_and_new_and_keep_the_position(way: Applying, deployed: Deployment) -> None:
    way.apply(ZONE + EVENTS)
    deployed.run_due()
    before, flow = positions(deployed), flow_named(deployed, "events")
    assert len(before) == 1
    changed = ZONE + EVENTS.replace("path: out", "path: elsewhere\nmanifest: true").replace(
        "every: 3h", "daily: '07:30'"
    )
    changed = changed.replace("name: events\n", f"name: renamed\nid: {flow['id']}\ndescription: daily now\n")
    found = way.plan(changed)[1]
    assert found["action"] == "change"
    assert fields(found) == {
        "name": ("events", "renamed"),
        "description": (None, "daily now"),
        "path": ("out", "elsewhere"),
        "manifest": (False, True),
        "schedule": ("every 3h", "daily 07:30"),
    }
    assert "path: out → elsewhere" in way.apply(changed)
    assert set(way.actions(changed).values()) == {"nothing"}
    assert positions(deployed) == before
    assert flow_named(deployed, "renamed")["id"] == flow["id"]
    back = changed.replace("\nmanifest: true", "")
    assert fields(way.plan(back)[1]) == {"manifest": (True, False)}
    way.apply(back)
    assert set(way.actions(back).values()) == {"nothing"}


def test_datasets_and_states_change(way: Applying, deployed: Deployment) -> None:
    way.apply(ZONE + EVENTS)
    deployed.run_due()
    before = positions(deployed)
    deployed.import_rows("others", rows(0, 2))
    several = ZONE + EVENTS.replace(
        "dataset: events", "datasets:\n- events\n- name: others\nstate: disabled\nlabels: [a]"
    )
    assert set(fields(way.plan(several)[1])) == {"datasets", "state", "labels"}
    way.apply(several)
    assert set(way.actions(several).values()) == {"nothing"}
    assert positions(deployed) == before
    assert len(deployed.get("/sourceConnections")["items"]) == 1
    way.apply(several.replace("disabled", "enabled").replace("labels: [a]", "labels: []"))
    assert flow_named(deployed, "events")["state"] == "enabled"


def test_the_plan_says_when_columns_that_were_left_out_are_delivered(way: Applying) -> None:
    chosen = ZONE + EVENTS.replace("dataset: events", "dataset: events\ncolumns: [id]")
    way.apply(chosen)
    (change,) = [one for one in way.plan(ZONE + EVENTS) if one["kind"] == "flow"]
    assert change["notes"] == ["all columns of events are delivered"]
    assert "~ flow events: all columns of events are delivered" in way.apply(ZONE + EVENTS)
    assert set(way.actions(ZONE + EVENTS).values()) == {"nothing"}
    (change,) = [one for one in way.plan(chosen) if one["kind"] == "flow"]
    assert change["notes"] == []


def test_two_clients_that_apply_at_once_create_nothing_twice(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other client creates everything between the plan and the first step."""
    real = executing.carry_out

    def late(context: Context, plan: Plan, report: Report) -> None:
        monkeypatch.setattr(executing, "carry_out", real)
        way.apply(documents)
        real(context, plan, report)

    late_flow = EVENTS.replace("name: events", "name: late").replace("path: daily", "path: late")
    for documents, what in ((ZONE + EVENTS, "connection zone"), (late_flow, "flow late")):
        monkeypatch.setattr(executing, "carry_out", late)
        assert f"Another client has created the {what} at the same time" in way.refused(documents)
        assert set(way.actions(documents).values()) == {"nothing"}
    counts = {kind: len(deployed.get(f"/{kind}")["items"]) for kind in ("flows", "targetConnections")}
    assert counts == {"flows": 2, "targetConnections": 2}


def test_what_commands_create_can_be_declared(way: Applying) -> None:
    name = "n" * 300
    assert way.run("connection", "create", "landing-zone", name, "--no-test")[0] == 0
    new = ("flow", "create", name, "--dataset", "events", "--to", name, "--path", "a", "--format", "ndjson")
    code, _, err = way.run(*new, "--every", "24h", "--end", "never")
    assert code == 0, err
    exported = way.export()
    assert set(way.actions(exported).values()) == {"nothing"}
    assert set(way.actions(exported.replace("format: json", "format: ndjson")).values()) == {"nothing"}


def test_a_replacement_needs_permission_and_loses_the_position(way: Applying, deployed: Deployment) -> None:
    way.apply(ZONE + S3.format(key="AKIA") + EVENTS)
    deployed.run_due()
    before = flow_named(deployed, "events")
    moved = ZONE + S3.format(key="AKIA") + TO_STORE
    (found,) = [one for one in way.plan(moved) if one["kind"] == "flow"]
    assert (found["action"], found["positionLost"]) == ("replace", True)
    error = way.refused(moved)
    assert "flow events: the plan replaces it. Nothing was changed; to allow it, use --allow-replace." in error
    assert flow_named(deployed, "events") == before
    assert "-/+ flow events: position lost: delivers in full" in way.apply(moved, "--allow-replace")
    assert flow_named(deployed, "events")["id"] != before["id"]
    assert set(way.actions(moved).values()) == {"nothing"}
    once = ZONE + S3.format(key="AKIA") + TO_STORE.replace("every: 3h", "once: true")
    assert "position lost" in way.refused(once) + way.run("diff", "-f", way.write(once))[1]
    way.apply(once, "--allow-replace")
    assert set(way.actions(once).values()) == {"nothing"}


def test_another_way_to_authenticate_replaces_the_connection_and_keeps_flows(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.apply(S3.format(key="AKIA") + TO_STORE)
    before = flow_named(deployed, "events")
    text = S3.format(key="AKIA").replace("access-key", "assumed-role")
    text = text.replace(
        "  s3AccessKey: AKIA\n  s3SecretKey: env:STORE_SECRET\n", "  s3Role: arn:aws:iam::123456789012:role/x\n"
    )
    text = text.replace("  endpointUrl: http://127.0.0.1:9\n", "")
    changes = {one["kind"]: one for one in way.plan(text + TO_STORE)}
    assert (changes["connection"]["action"], changes["connection"]["positionLost"]) == ("replace", False)
    assert changes["flow"]["action"] == "change"
    monkeypatch.delenv("STORE_SECRET")
    way.apply(text + TO_STORE, "--allow-replace")
    assert set(way.actions(text + TO_STORE).values()) == {"nothing"}
    assert [one["name"] for one in deployed.get("/connections")["items"] if one["name"] != "Data Lake"] == ["store"]
    assert flow_named(deployed, "events")["id"] == before["id"]


def test_another_destination_replaces_the_connection_and_its_flows(way: Applying, deployed: Deployment) -> None:
    way.apply(S3.format(key="AKIA") + TO_STORE)
    before = flow_named(deployed, "events")
    text = ZONE.replace("name: zone", "name: store") + TO_STORE.replace("\nbucket: deliveries", "")
    assert way.actions(text) == {"connection store": "replace", "flow events": "replace"}
    way.apply(text, "--allow-replace")
    assert set(way.actions(text).values()) == {"nothing"}
    assert [one["name"] for one in deployed.get("/connections")["items"] if one["name"] != "Data Lake"] == ["store"]
    assert flow_named(deployed, "events")["id"] != before["id"]


def test_changed_secrets_are_found_by_keyed_hashes_and_never_shown(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = S3.format(key="env:STORE_KEY")
    monkeypatch.setenv("STORE_KEY", "AKIA-of-the-store")
    shown = way.apply(text)
    assert way.actions(text) == {"connection store": "nothing"}
    monkeypatch.setenv("STORE_SECRET", "another-secret")
    (found,) = way.plan(text)
    assert (found["action"], set(fields(found))) == ("change", {"params.s3SecretKey"})
    shown += way.apply(text) + way.export()
    assert way.actions(text) == {"connection store": "nothing"}
    monkeypatch.setenv("STORE_KEY", "AKIA-other")
    (found,) = way.plan(text)
    assert fields(found) == {"params.s3AccessKey": ("(secret)", "(secret)")}
    shown += way.apply(text)
    for secret in ("a-secret-of-the-store", "another-secret", "AKIA-other"):
        assert secret not in shown
    events = deployed.http.get("/data/foundation/audit/events?limit=50").text
    assert "another-secret" not in events
    kept = text.replace("  s3SecretKey: env:STORE_SECRET\n", "")
    assert way.actions(kept) == {"connection store": "nothing"}
    elsewhere = kept.replace("127.0.0.1:9", "127.0.0.1:10")
    assert "s3SecretKey must be given: endpointUrl changes" in way.refused(elsewhere)


def test_prune_removes_what_has_the_tag_of_the_set_only(way: Applying, deployed: Deployment) -> None:
    deployed.post("/connections", {"name": "by hand"})
    way.apply(ZONE + EVENTS + DAILY, "--set", "a")
    way.apply(ZONE.replace("name: zone", "name: other"), "--set", "b")
    assert "2 unchanged" in way.apply(ZONE + EVENTS, "--set", "a")
    found = way.actions(ZONE + EVENTS, "--set", "a", "--prune")
    assert found == {"connection zone": "nothing", "flow events": "nothing", "flow daily": "delete"}
    assert "- flow daily" in way.apply(ZONE + EVENTS, "--set", "a", "--prune")
    way.apply(ZONE.replace("name: zone", "name: own"), "--set", "a", "--prune")
    assert deployed.get("/flows")["items"] == []
    assert deployed.get("/targetConnections")["items"] == []
    names = {one["name"] for one in deployed.get("/connections")["items"]}
    assert names - {"Data Lake"} == {"by hand", "other", "own"}
    code, _, err = way.run("apply", "-f", way.write(ZONE), "--prune", "--yes")
    assert (code, "--prune needs --set" in err) == (2, True)


def test_prune_keeps_what_others_use_and_rows(way: Applying, deployed: Deployment) -> None:
    dataset = "kind: dataset\nname: events\n---\nkind: dataset\nname: empty\ncolumns: ['id:long']\n---\n"
    way.apply(ZONE + dataset, "--set", "a")
    way.apply(EVENTS)
    out = way.apply("kind: role\nname: lookers\npermissions: [view-datasets]\n", "--set", "a", "--prune")
    assert "= connection zone: kept: flow events uses it" in out
    assert "= dataset events: kept: flow events uses it" in out
    assert "- dataset empty" in out
    deployed.delete(f"/flows/{flow_named(deployed, 'events')['id']}")
    out = way.apply("kind: role\nname: lookers\npermissions: [view-datasets]\n", "--set", "a", "--prune")
    assert "kept: dataset events has rows" in out
    assert "- connection zone" in out


def test_existing_things_join_a_set_and_leave_another_only_if_allowed(way: Applying) -> None:
    way.apply(ZONE)
    assert way.actions(ZONE, "--set", "a") == {"connection zone": "adopt"}
    assert "joins the set a" in way.apply(ZONE, "--set", "a")
    assert way.actions(ZONE, "--set", "a") == {"connection zone": "nothing"}
    assert "connection zone: belongs to the set a" in way.refused(ZONE, "--set", "b")
    way.apply(ZONE, "--set", "b", "--take-over")
    assert "belongs to the set b" in way.refused(ZONE, "--set", "a")
    assert way.export("--set", "b") == "kind: connection\nname: zone\ndestination: landing-zone\n"


def test_what_is_exported_and_removed_is_the_same_after_it_is_applied(way: Applying, deployed: Deployment) -> None:
    way.apply(ZONE + EVENTS + DAILY + S3.format(key="AKIA"))
    deployed.run_due()
    before = positions(deployed)
    exported = way.export()
    assert "s3SecretKey: env:STORE_S3_SECRET_KEY" in exported
    exported = exported.replace("STORE_S3_SECRET_KEY", "STORE_SECRET")
    assert set(way.actions(exported).values()) == {"nothing"}
    way.apply(exported)
    assert positions(deployed) == before
    for kind in ("flows", "targetConnections", "sourceConnections", "connections"):
        for one in deployed.get(f"/{kind}")["items"]:
            if one["name"] != "Data Lake":
                deployed.delete(f"/{kind}/{one['id']}" + ("?force=true" if kind == "targetConnections" else ""))
    assert set(way.actions(exported).values()) == {"create", "nothing"}
    way.apply(exported)
    assert way.export().replace("STORE_S3_SECRET_KEY", "STORE_SECRET") == exported
    found = json.loads(way.export("--json", "--ids", "--kind", "flow", "events"))
    assert [one["id"] for one in found] == [flow_named(deployed, "events")["id"]]


def test_datasets_catalogs_roles_and_clients(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "a-token")
    text = """
kind: dataset
name: prices
description: of goods
columns: ["id:long:required", {name: price, type: "decimal(18,2)"}]
evolves: true
labels: [core/C1]
---
kind: catalog
name: lake
type: rest
properties: {uri: "https://catalog.example.org", token: "env:TOKEN"}
---
kind: role
name: lookers
permissions: [view-datasets, view-destinations]
---
kind: client
name: partner
roles: [lookers]
secretTo: file:partner.secret
"""
    out = way.apply(text)
    assert set(way.actions(text).values()) == {"nothing"}
    secret = way.folder / "partner.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in out
    assert secret.read_text().startswith("p8e-")
    monkeypatch.setenv("TOKEN", "another")
    changed = text.replace("of goods", "of all goods").replace("[core/C1]", "[]").replace(", view-destinations]", "]")
    found = {one["kind"]: fields(one) for one in way.plan(changed)}
    assert set(found["dataset"]) == {"description", "labels"}
    assert set(found["catalog"]) == {"properties.token"}
    assert found["role"] == {"permissions": (["view-datasets", "view-destinations"], ["view-datasets"])}
    way.apply(changed)
    assert set(way.actions(changed).values()) == {"nothing"}
    second = changed.replace("roles: [lookers]", "roles: [Administrators]")
    way.apply(second)
    assert set(way.actions(second).values()) == {"nothing"}
    exported = way.export("--kind", "dataset", "--kind", "role", "--kind", "client", "--kind", "catalog")
    assert "- name: id\n  type: long\n  required: true\n" in exported
    monkeypatch.setenv("LAKE_TOKEN", "another")
    assert set(way.actions(exported).values()) <= {"nothing", "create"}
    assert "columns cannot be changed" in way.refused(text.replace("decimal(18,2)", "double"))
    assert "secretTo partner.secret" not in way.refused(text.replace("name: partner", "name: second"))
    deployed.sign_in()
    assert "another" not in deployed.http.get("/data/foundation/audit/events?limit=50").text


def test_a_freshness_target_is_declared_kept_and_removed(way: Applying, deployed: Deployment) -> None:
    for line, expected in (("freshWithin: 4h\n", 14_400), ("", 14_400), ("freshWithin: none\n", None)):
        way.apply(ZONE + EVENTS.replace("every: 3h\n", f"every: 3h\n{line}"))
        assert flow_named(deployed, "events")["extensions"]["freshWithinSeconds"] == expected
