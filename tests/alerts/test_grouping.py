"""Events become few messages: those with the same cause are one, and a destination that is down gives one an hour."""

import pytest

from offtake.access.labels import KEPT_LABELS
from offtake.alerts import grouping
from offtake.store import events
from offtake.store.events import Event
from offtake.store.tables import AlertGroup, AlertMessage, AlertRule, Batch, EventRow, Label
from tests.alerts.world import AWAY, CHANNELS, MESSAGES, RULES, World

FLOWS = 500


def test_a_dead_destination_of_500_flows_gives_one_message_an_hour_and_one_when_it_is_back(world: World) -> None:
    """The storm: each flow's run waits for long within the first minutes, and fails and is late in each later hour."""
    world.rule(world.channel())
    base = world.connection()
    down = {"address": "sftp.partner.example:22"}
    of_connection = {"connection_id": base, "connection_name": "partner"}
    waiting = [world.event("run.waiting_long", number, fields=AWAY | down, **of_connection) for number in range(FLOWS)]
    world.record(world.event("connection.unavailable", fields=AWAY | down), *waiting)
    assert world.wait(29) == 0
    assert world.wait(2) == 1
    (first,) = world.server.documents
    assert first["data"]["title"] == "Destination sftp.partner.example:22 does not answer; 500 flows affected"
    assert (first["data"]["count"], first["data"]["flowCount"]) == (FLOWS + 1, FLOWS)
    assert [one["flowName"] for one in first["data"]["events"][1:4]] == ["flow 0", "flow 1", "flow 2"]
    assert len(first["data"]["events"]) == 100
    received = []
    for _ in range(3):
        failed = {"connection_id": base, "connection_name": "partner", "fields": AWAY}
        kinds = ("run.failed", "flow.late")
        world.record(*(world.event(kind, number, **failed) for number in range(FLOWS) for kind in kinds))
        received.append(world.wait(3600))
    assert received == [1, 1, 1]
    assert world.server.documents[-1]["data"]["count"] == 2 * FLOWS
    waits = world.event("run.waiting_long", 1, fields=AWAY | down, **of_connection)
    world.record(waits, world.event("connection.available", fields=down))
    assert world.wait(31) == 1
    last = world.server.documents[-1]["data"]
    assert (last["severity"], last["title"]) == (
        "recovery",
        "Destination sftp.partner.example:22 answers again; 1 flow affected",
    )
    assert world.wait(7200) == 0
    assert len(world.server.received) == 5
    assert len({one["id"] for one in world.server.documents}) == 5


def test_a_destination_that_flaps_gives_few_messages_and_the_last_one_is_right(world: World) -> None:
    world.rule(world.channel())
    down = {"address": "sftp.partner.example:22"}
    for _ in range(15):
        world.record(world.event("connection.unavailable", fields=AWAY | down))
        world.wait(60)
        world.record(world.event("connection.available", fields=down))
        world.wait(60)
    count = len(world.server.received) + world.wait(3600)
    assert 6 <= count <= 16
    assert world.server.documents[-1]["data"]["severity"] == "recovery"
    world.record(world.event("connection.unavailable", fields=AWAY | down))
    assert world.wait(60) == 1
    assert world.server.documents[-1]["data"]["severity"] == "problem"


def test_causes_are_the_destination_or_the_connection_or_the_code_or_the_kind(world: World) -> None:
    world.rule(world.channel())
    base = {"connection_id": world.connection(None), "connection_name": "bucket"}
    gone = {"code": "EXPORT-2002-404", "message": "The bucket does not exist."}
    for number in range(3):
        world.record(world.event("run.failed", number, fields=gone, **base))
        world.record(world.event("run.failed", number, fields={"code": "EXPORT-1500-500", "message": "A bug."}))
        world.record(world.event("flow.late", number))
    world.record(world.event("flow.ending_soon", 9, fields={"days": 7, "remedy": "Extend it."}))
    world.record(*(world.event("flow.disabled", 8) for _ in range(2)))
    assert world.wait(31) == 5
    assert sorted(world.titles()) == [
        "3 flows: 3 failed",
        "3 flows: 3 late",
        "Connection bucket: EXPORT-2002-404: 3 flows: 3 failed",
        "Flow flow 8: 2 disabled",
        "Flow flow 9 ends soon.",
    ]


def test_rules_choose_flows_and_topics_and_single_messages(world: World) -> None:
    channel = world.channel()
    flow = world.deployed.flow(world.deployed.import_rows("events", [{"id": 1}]))
    world.rule(channel, "one flow", flowId=flow, topics=["failed", "waiting", "recovered"])
    world.rule(channel, "all runs", topics=["started", "delivered"], single=True)
    world.rule(channel, "disabled", enabled=False)
    base = world.deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"]
    base_id = world.deployed.get(f"/targetConnections/{base[0]}")["items"][0]["baseConnectionId"]
    world.record(
        world.event("run.failed", 1),
        world.event("run.failed", flow_id=flow, flow_name="mine"),
        world.event("connection.unavailable", connection_id=base_id, fields=AWAY),
        world.event("connection.unavailable", connection_id=world.connection(), fields=AWAY),
        world.event("run.started", 2),
        world.event("run.delivered", 2, fields={"rows": 7, "files": 1}),
        world.event("run.delivered", 2, fields={"rows": 8, "files": 1}),
    )
    assert world.notify() == 3
    assert [one["type"] for one in world.server.documents] == [
        "offtake.run.started",
        "offtake.run.delivered",
        "offtake.run.delivered",
    ]
    assert "Flow flow 2 has delivered 7 rows in 1 file." in world.titles()
    assert world.wait(31) == 2
    assert {one["data"]["rule"] for one in world.server.documents[3:]} == {"one flow"}
    assert {one["data"]["flowCount"] for one in world.server.documents[3:]} == {0, 1}


def test_runs_and_imports_of_a_deployment_are_reported(world: World) -> None:
    deployed = world.deployed
    world.rule(world.channel(), single=True, topics=["started", "delivered", "nothing-new", "failed"])
    flow = deployed.flow(deployed.import_rows("events", [{"id": 1}, {"id": 2}]))
    deployed.run_due()
    deployed.clock.advance(hours=3)
    deployed.run_due()
    world.notify()
    assert sorted(world.titles()) == [
        "A run of flow flow has started.",
        "A run of flow flow has started.",
        "Flow flow found nothing new to deliver.",
        "Flow flow has delivered 2 rows in 1 file.",
    ]
    assert {one["data"]["events"][0]["flowId"] for one in world.server.documents} == {flow}


def test_a_rule_tells_nothing_of_flows_that_its_editor_may_not_see(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    client = deployed.new_client("view-destinations", "manage-destinations")
    with deployed.acting(client):
        world.rule(channel, "of a client")
    with deployed.backend.database.writing() as session:
        session.add(Label(entity_id="flow-1", label="core/C1"))
        session.add(Label(entity_id=f"{KEPT_LABELS}flow-3", label="core/C1"))
    world.record(*(world.event("run.failed", number) for number in (1, 2, 3)))
    assert world.wait(31) == 1
    assert [one["flowName"] for one in world.server.documents[0]["data"]["events"]] == ["flow 2"]


def test_imports_and_names_of_datasets_are_hidden_as_the_datasets_are(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    client = deployed.new_client("view-destinations", "manage-destinations")
    with deployed.acting(client):
        world.rule(channel, "of a client", single=True)
    dataset = deployed.import_rows("payroll", [{"id": 1}])
    open_dataset = deployed.import_rows("cities", [{"id": 1}])
    with deployed.backend.database.writing() as session:
        session.add(Label(entity_id=dataset, label="core/C1"))
        batches = {one.dataset_id: one.id for one in session.query(Batch)}
    now, sandbox = deployed.clock.ms, deployed.caller.sandbox_id
    failed = {"payroll": batches[dataset], "cities": batches[open_dataset], "gone": "deleted with its dataset"}
    world.record(*(Event("batch.failed", sandbox, now, batch_id=one, datasets=[name]) for name, one in failed.items()))
    world.record(world.event("run.failed", 1, datasets=["payroll", "cities"]))
    assert world.notify() == 2
    assert sorted(world.titles()) == ["A run of flow flow 1 has failed.", "An import into cities has failed."]
    assert "payroll" not in str(world.server.documents)
    world.deployed.sign_in()
    world.rule(channel, "of all", single=True)
    world.record(Event("batch.failed", sandbox, now, batch_id=batches[dataset], datasets=["payroll"]))
    assert world.notify() == 1
    deployed.sign_in()
    deployed.http.delete(f"/data/foundation/catalog/dataSets/{dataset}")
    with deployed.acting(client):
        assert "payroll" not in str(deployed.get(MESSAGES))


def test_a_client_does_not_redirect_messages_that_it_may_not_see(world: World) -> None:
    """A client without a label changes the channel, and the rule, of a client that has it."""
    deployed = world.deployed
    channel = world.channel()
    world.rule(channel, "single", single=True)
    grouped = world.rule(channel, "grouped")
    with deployed.backend.database.writing() as session:
        session.add(Label(entity_id="flow-1", label="core/C1"))
    world.server.statuses = [410, 500]
    world.record(world.event("run.failed", 1), world.event("run.failed", 1))
    world.notify()
    dead, waiting = sorted(world.messages(), key=lambda one: one["state"])
    client = deployed.new_client("view-destinations", "manage-destinations")
    with deployed.acting(client):
        deployed.patch(f"{CHANNELS}/{channel}", {"settings": {"url": world.server.url + "/other"}})
        deployed.patch(f"{RULES}/{grouped}", {"topics": ["failed", "late"]})
        for one in (dead, waiting):
            refused = deployed.post(f"{MESSAGES}/{one['id']}/action?op=retry", None, 403)
            assert "may not see" in refused["detail"]
    world.server.received.clear()
    world.record(world.event("run.failed", 1), world.event("run.failed", 2))
    world.wait(3600)
    assert "flow 1" not in str(world.server.documents)
    assert [one["data"]["rule"] for one in world.server.documents] == ["single", "grouped"]
    assert {one["state"] for one in world.messages() if one["id"] == waiting["id"]} == {"dead"}
    deployed.post(f"{MESSAGES}/{dead['id']}/action?op=retry", None, 200)
    assert world.notify() == 1


def test_messages_about_hidden_flows_are_listed_without_them(world: World) -> None:
    deployed = world.deployed
    flow = deployed.flow(deployed.import_rows("events", [{"id": 1}]))
    world.rule(world.channel())
    world.record(world.event("run.failed", flow_id=flow, flow_name="secret name"))
    world.wait(31)
    assert "secret name" in str(world.messages())
    client = deployed.new_client("view-destinations")
    with deployed.backend.database.writing() as session:
        session.add(Label(entity_id=flow, label="core/C1"))
    with deployed.acting(client):
        (listed,) = deployed.get(MESSAGES)["items"]
        shown = deployed.get(f"{MESSAGES}/{listed['id']}")["items"][0]
    assert "secret name" not in str(listed) + str(shown)
    assert listed["title"] == "This message is about dataflows or datasets that you may not see."
    deployed.sign_in()
    deployed.delete(f"/flows/{flow}")
    with deployed.acting(client):
        assert "secret name" not in str(deployed.get(MESSAGES))


def test_events_of_the_whole_deployment_reach_rules_of_each_sandbox(world: World) -> None:
    world.rule(world.channel())
    now = world.deployed.clock.ms
    world.record(Event("workers.missing", events.DEPLOYMENT, now, fields={"runs": 3}))
    assert world.wait(31) == 1
    world.record(Event("workers.back", events.DEPLOYMENT, now))
    assert world.wait(31) == 1
    assert list(world.titles()) == ["No worker executes runs; waiting: 3.", "Workers execute runs again."]


def test_deleting_a_flow_or_a_rule_removes_what_waits_for_it(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    flow = deployed.flow(deployed.import_rows("events", [{"id": 1}]))
    world.rule(channel, "of the flow", flowId=flow, single=True, topics=["failed", "late"])
    rule = world.rule(channel, "grouped")
    world.record(world.event("run.failed", flow_id=flow))
    assert not world.notifier.group()
    deployed.delete(f"/flows/{flow}")
    assert [one["name"] for one in deployed.get(RULES)["items"]] == ["grouped"]
    assert world.messages() == []
    deployed.delete(f"{RULES}/{rule}")
    assert world.wait(61) == 0
    with deployed.backend.database.reading() as session:
        assert session.query(AlertGroup).count() == session.query(AlertRule).count() == 0


def test_a_clock_that_is_set_back_delays_nothing(world: World) -> None:
    world.rule(world.channel())
    world.record(world.event("flow.late", 1))
    world.notify()
    world.deployed.clock.set_by(days=-2)
    assert world.notify() == 1
    world.server.statuses = [500]
    world.record(world.event("run.failed", 1))
    world.wait(31)
    world.deployed.clock.set_by(days=-2)
    assert world.notify() == 1


def test_a_reset_sandbox_has_no_channels_rules_messages_or_events(world: World) -> None:
    from offtake.scheduling.housekeeping import run_maintenance  # noqa: PLC0415 - of this test alone

    world.rule(world.channel())
    world.record(world.event("flow.late", 1), world.event("run.failed", 1))
    world.wait(31)
    world.record(world.event("flow.late", 2))
    world.notify()
    sandbox = world.deployed.caller.sandbox_name
    world.deployed.sign_in()
    answer = world.deployed.http.put(
        f"/data/foundation/sandbox-management/sandboxes/{sandbox}", json={"action": "reset"}
    )
    assert answer.status_code == 202, answer.text
    for _ in run_maintenance(world.deployed.backend, sweeps=False):
        pass
    with world.deployed.backend.database.reading() as session:
        for table in (AlertGroup, AlertRule, AlertMessage, EventRow):
            assert session.query(table).count() == 0, table
    assert world.wait(3600) == 0


def test_many_matches_are_handled_in_short_transactions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_MATCHES_AT_ONCE", 4)
    channels = [world.channel(f"c{number}") for number in range(2)]
    for number in range(3):
        world.rule(channels[0], f"rule {number}", channelIds=channels, single=number > 0)
    address = f"{'h' * 9000}.example:22"
    world.record(*(world.event("run.started", 1) for _ in range(3)))
    world.record(*(world.event("run.waiting_long", number, fields=AWAY | {"address": address}) for number in range(5)))
    assert world.notifier.group()
    with world.deployed.backend.database.reading() as session:
        assert session.query(AlertMessage).count() == 4
        assert [len(one.cause) for one in session.query(AlertGroup)] == [500]
    while world.notifier.group():
        pass
    world.wait(31)
    counts = [one["data"]["count"] for one in world.server.documents if one["type"] == "offtake.alert"]
    assert counts == [5, 5]
    assert len(world.server.received) == 2 * (1 + 2 * 5)


def test_two_servers_group_each_event_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.rule(world.channel())
    world.record(world.event("flow.late", 1))
    monkeypatch.setattr(grouping, "try_advisory_lock", lambda _session, _key: False)
    assert world.wait(120) == 0
    monkeypatch.undo()
    assert world.wait(31) == 1
