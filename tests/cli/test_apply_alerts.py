"""Alert channels and rules as documents: plans, changes, secrets, sets, and the round trip."""

import json
from typing import Any

import pytest

from offtake.client.server import Server
from offtake.client.transport import Answer, Receive, Request
from tests.cli.applying import Applying, fields
from tests.cli.test_apply import EVENTS, S3, TO_STORE, ZONE
from tests.cli.test_apply import way as way  # noqa: PLC0414 - a fixture
from tests.deployment import Deployment

pytestmark = pytest.mark.matrix(one_in=2)

OPS = """
kind: alert-channel
name: ops
type: webhook
settings:
  url: https://hooks.example.org/offtake
  secret: env:OPS_SECRET
  authorization: env:OPS_AUTHORIZATION
---
"""
CHAT = "kind: alert-channel\nname: chat\ntype: slack\nsettings: {url: 'env:CHAT_URL'}\n---\n"
MAIL = "kind: alert-channel\nname: mail\ntype: email\nsettings: {to: [a@example.org, b@example.org]}\n---\n"
TROUBLE = "kind: alert-rule\nname: trouble\nchannels: [ops, chat]\n---\n"
OF_EVENTS = """
kind: alert-rule
name: about events
channels: [mail]
flow: events
topics: [late, delivered]
single: true
groupSeconds: 0
repeatSeconds: 60
state: disabled
---
"""
ALL = OF_EVENTS + TROUBLE + OPS + CHAT + MAIL + ZONE + EVENTS
SECRETS = {
    "OPS_SECRET": "a-key-that-signs-webhooks",
    "OPS_AUTHORIZATION": "Bearer of-the-webhook",
    "CHAT_URL": "https://chat.example.org/services/a-secret-of-the-chat",
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def named(deployed: Deployment, kind: str, name: str) -> Any:
    (found,) = (one for one in deployed.get(f"/{kind}")["items"] if one["name"] == name)
    return found


def test_channels_and_rules_are_created_after_what_they_refer_to_and_differ_no_more(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = way.apply(ALL)
    order = [line.split(" ", 1)[1] for line in shown.splitlines() if line.startswith("+ ")]
    assert order.index("flow events") < order.index("alert-rule about events")
    assert order.index("alert-channel mail") < order.index("alert-rule about events")
    rule = named(deployed, "alertRules", "about events")
    assert (rule["flowId"], rule["topics"]) == (named(deployed, "flows", "events")["id"], ["late", "delivered"])
    assert (rule["enabled"], rule["single"], rule["groupSeconds"], rule["repeatSeconds"]) == (False, True, 0, 60)
    assert len(named(deployed, "alertRules", "trouble")["channelIds"]) == 2
    sent: list[Request] = []
    send = Server.send

    def watched(self: Server, request: Request, receive: Receive | None = None) -> Answer:
        sent.append(request)
        return send(self, request, receive)

    monkeypatch.setattr(Server, "send", watched)
    assert set(way.actions(ALL).values()) == {"nothing"}
    assert way.apply(ALL) == "Plan: 7 unchanged.\n"
    changing = {(one.method, one.path.rpartition("/")[2]) for one in sent if one.method != "GET"}
    assert changing <= {("POST", "secrets"), ("POST", "v3")}
    assert all(value not in str(one.content) for one in sent for value in SECRETS.values())


def test_changes_are_shown_made_and_differ_no_more(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = way.apply(ALL)
    before = named(deployed, "alertChannels", "ops")
    monkeypatch.setenv("OPS_SECRET", "another-key-for-webhooks")
    monkeypatch.setenv("CHAT_URL", "https://chat.example.org/services/another")
    changed = ALL.replace("example.org/offtake", "example.org/other").replace("a@example.org, ", "")
    changed = changed.replace("topics: [late, delivered]\n", "").replace("flow: events\n", "")
    changed = changed.replace("state: disabled\n", "").replace("[ops, chat]", "[chat]\ngroupSeconds: 5")
    found = {one["name"]: fields(one) for one in way.plan(changed) if one["action"] != "nothing"}
    assert found["ops"] == {
        "settings.url": ("https://hooks.example.org/offtake", "https://hooks.example.org/other"),
        "settings.secret": ("(secret)", "(secret)"),
    }
    assert found["chat"] == {"settings.url": ("(secret)", "(secret)")}
    assert found["mail"] == {"settings.to": (["a@example.org", "b@example.org"], ["b@example.org"])}
    assert set(found["about events"]) == {"topics", "flow"}
    assert found["about events"]["flow"] == ("events", "(all)")
    assert found["trouble"] == {"channels": (["chat", "ops"], ["chat"]), "groupSeconds": (30, 5)}
    shown += way.apply(changed)
    assert set(way.actions(changed).values()) == {"nothing"}
    rule = named(deployed, "alertRules", "about events")
    assert (rule["enabled"], rule["flowId"]) == (False, None)
    renamed = changed.replace("name: ops\n", f"name: operations\nid: {before['id']}\n")
    assert "name: ops → operations" in way.apply(renamed)
    assert named(deployed, "alertChannels", "operations")["settings"] == before["settings"] | {
        "url": "https://hooks.example.org/other"
    }
    kept = OPS.replace("  secret: env:OPS_SECRET\n  authorization: env:OPS_AUTHORIZATION\n", "")
    kept = kept.replace("name: ops", "name: operations").replace("/offtake", "/other")
    assert way.actions(kept) == {"alert-channel operations": "nothing"}
    assert "documents.yaml:6: alert-channel operations: settings.secret must be given: url names another server" in (
        way.refused(kept.replace("hooks.example.org", "elsewhere.example.org"))
    )
    assert "type cannot be changed from webhook" in way.refused(
        CHAT.replace("name: chat", f"name: chat\nid: {before['id']}")
    )
    shown += way.export()
    deployed.sign_in()
    shown += deployed.http.get("/data/foundation/audit/events?limit=100").text
    for secret in (*SECRETS.values(), "another-key-for-webhooks", "services/another"):
        assert secret not in shown


def test_what_is_exported_and_removed_is_the_same_after_it_is_applied(way: Applying, deployed: Deployment) -> None:
    way.apply(ALL)
    exported = way.export()
    for reference in ("secret: env:OPS_SECRET", "authorization: env:OPS_AUTHORIZATION", "url: env:CHAT_URL"):
        assert reference in exported
    assert "topics" not in exported.partition("name: trouble")[2]
    assert set(way.actions(exported).values()) == {"nothing"}
    for kind in ("alertRules", "alertChannels", "flows", "targetConnections", "sourceConnections"):
        for one in deployed.get(f"/{kind}")["items"]:
            deployed.delete(f"/{kind}/{one['id']}" + ("?force=true" if kind == "targetConnections" else ""))
    assert list(way.actions(exported).values()).count("create") == 6
    way.apply(exported)
    assert set(way.actions(exported).values()) == {"nothing"}
    assert way.export() == exported
    found = json.loads(way.export("--json", "--ids", "--kind", "alert-rule", "trouble"))
    assert [one["id"] for one in found] == [named(deployed, "alertRules", "trouble")["id"]]


def test_prune_removes_rules_before_channels_and_keeps_what_others_use(way: Applying, deployed: Deployment) -> None:
    way.apply(ALL, "--set", "a")
    way.apply("kind: alert-rule\nname: of others\nchannels: [mail]\n")
    out = way.apply(ZONE + OF_EVENTS, "--set", "a", "--prune")
    assert "- alert-rule trouble" in out
    assert "- alert-channel chat" in out
    assert "= alert-channel mail: kept: alert-rule about events uses it" in out
    assert "= flow events: kept: alert-rule about events is about it" in out
    assert {one["name"] for one in deployed.get("/alertChannels")["items"]} == {"mail"}
    out = way.apply(ZONE, "--set", "a", "--prune")
    assert "= alert-channel mail: kept: alert-rule of others uses it" in out
    assert [one["name"] for one in deployed.get("/alertRules")["items"]] == ["of others"]
    assert deployed.get("/flows")["items"] == []


def test_the_rule_of_a_flow_that_is_created_again_is_created_again(way: Applying, deployed: Deployment) -> None:
    store, rest = S3.format(key="AKIA"), OF_EVENTS + MAIL + ZONE
    way.apply(store + EVENTS + rest, "--set", "a")
    before = named(deployed, "alertRules", "about events")["id"]
    moved = store + TO_STORE + rest
    actions = way.actions(moved, "--set", "a")
    assert (actions["flow events"], actions["alert-rule about events"]) == ("replace", "replace")
    out = way.apply(moved, "--set", "a", "--allow-replace")
    assert "-/+ alert-rule about events: is created again, as its flow is" in out
    rule = named(deployed, "alertRules", "about events")
    assert (rule["id"] != before, rule["flowId"]) == (True, named(deployed, "flows", "events")["id"])
    assert set(way.actions(moved, "--set", "a").values()) == {"nothing"}
