"""Channels, rules and messages over HTTP: what is refused, what is masked, and what binds a secret."""

from typing import Any

import pytest

from offtake.store.tables import AlertChannel
from offtake.store.vault import Vault
from tests.alerts.world import CHANNELS, MESSAGES, RULES, SECRET, World
from tests.api.test_patches import op
from tests.deployment import FLOW_SERVICE, Deployment

MASK = "********"
SLACK = "https://hooks.slack.example/services/T000/B000/a-long-secret-token"


def shown(deployed: Deployment, path: str) -> dict[str, Any]:
    found: dict[str, Any] = deployed.get(path)["items"][0]
    return found


def stored(deployed: Deployment, channel: str) -> Any:
    with deployed.backend.database.reading() as session:
        row = session.get_one(AlertChannel, channel)
        vault: Vault = deployed.backend.vault
        return vault.decrypt(row.id, row.sealed or b"")


def test_a_webhook_without_a_secret_gets_one_that_is_shown_once(deployed: Deployment) -> None:
    body = {"name": "ops", "kind": "webhook", "settings": {"url": "https://hooks.example.org/x"}}
    created = deployed.post(CHANNELS, body)
    secret = created["generated"]["secret"]
    assert len(secret) >= 40
    assert stored(deployed, created["id"]) == {"secret": secret}
    text = deployed.http.get(f"{FLOW_SERVICE}{CHANNELS}/{created['id']}").text
    audit = deployed.http.get("/data/foundation/audit/events").text
    assert secret not in text + audit
    assert shown(deployed, f"{CHANNELS}/{created['id']}")["settings"]["secret"] == MASK
    assert '"Alert Channel"' in audit


def test_the_url_of_a_chat_is_a_secret_everywhere(deployed: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    channel = deployed.post(CHANNELS, {"name": "chat", "kind": "slack", "settings": {"url": SLACK}})["id"]
    tested = deployed.post(f"{CHANNELS}/{channel}/action?op=test", None, 200)
    assert (tested["result"], "hooks.slack.example" in tested["answer"]) == (False, True)
    audit = deployed.http.get("/data/foundation/audit/events").text
    everything = str(tested) + str(shown(deployed, f"{CHANNELS}/{channel}")) + audit + caplog.text
    assert "a-long-secret-token" not in everything
    deployed.patch(f"{CHANNELS}/{channel}", {"name": "chats"})
    assert stored(deployed, channel) == {"url": SLACK}
    deployed.patch(f"{CHANNELS}/{channel}", {"settings": {"url": SLACK + "2"}})
    assert stored(deployed, channel) == {"url": SLACK + "2"}


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"url": "https://hooks.example.org/elsewhere"}, False),
        ({"url": "https://hooks.example.org:8443/offtake"}, True),
        ({"url": "http://hooks.example.org/offtake"}, True),
        ({"url": "https://attacker.example/offtake"}, True),
        ({"url": "https://attacker.example/offtake", "secret": "another-secret-16", "authorization": None}, False),
        ({"url": "https://attacker.example/offtake", "secret": "another-secret-16"}, True),
    ],
)
def test_secrets_are_bound_to_the_server_of_their_url(
    standing: Deployment, settings: dict[str, Any], is_refused: bool
) -> None:
    given = {"url": "https://hooks.example.org/offtake", "secret": SECRET, "authorization": "Bearer x"}
    body = {"name": str(settings), "kind": "webhook", "settings": given}
    body["name"] = "".join(one for one in str(settings) if one.isalnum())
    path = f"{CHANNELS}/{standing.post(CHANNELS, body)['id']}"
    answer = standing.patch(path, {"settings": settings}, 400 if is_refused else 200)
    patched = standing.patch(path, [op("test", "/settings/secret", MASK)])
    assert patched["id"] in path
    found = stored(standing, path.rpartition("/")[2])
    if is_refused:
        assert "must be sent again" in answer["detail"]
        assert found == {"secret": SECRET, "authorization": "Bearer x"}
    else:
        assert found["secret"] == settings.get("secret", SECRET)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "pager"}, "/kind: must be one of webhook, email, slack, teams, google-chat"),
        ({"settings": {}}, "/settings/url: is required"),
        ({"settings": {"url": "ftp://x/"}}, "must be a URL that starts with https:// or http://"),
        ({"settings": {"url": "https://user:x@example.org/"}}, "must not contain a user or a password"),
        ({"settings": {"url": "https://example.org/\r\nX: y"}}, "must be a URL"),
        ({"settings": {"url": "http://169.254.169.254/"}}, "is denied: the network's rules do not allow"),
        ({"settings": {"url": "https://x.example/", "secret": "short"}}, "must have 16 to 500 printable"),
        ({"settings": {"url": "https://x.example/", "secret": MASK}}, "is the mask of a secret"),
        ({"settings": {"url": "https://x.example/", "authorization": "a\nb"}}, "printable ASCII"),
        ({"settings": {"url": "https://x.example/", "other": 1}}, "/settings/other: is unknown"),
        ({"kind": "slack", "settings": {"url": "http://hooks.example.org/x"}}, "the URL is a secret"),
        ({"kind": "email", "settings": {"to": ["a@example.org\nBcc: b@example.org"]}}, "must be e-mail addresses"),
        ({"kind": "email", "settings": {"to": ["A <a@example.org>"]}}, "must be e-mail addresses"),
        ({"kind": "email", "settings": {"to": []}}, "must not be empty"),
        ({"name": "a\nb"}, "/name: must have 1 to 255 printable characters"),
    ],
)
def test_channels_that_do_not_fit_are_refused(standing: Deployment, change: dict[str, Any], problem: str) -> None:
    body = {"name": "ops", "kind": "webhook", "settings": {"url": "https://hooks.example.org/x"}} | change
    answer = standing.post(CHANNELS, body, 400)
    assert problem in str(answer)
    assert "Bcc" not in str(answer)


def test_rules_that_do_not_fit_are_refused(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    fitting = {"name": "r", "channelIds": [channel]}
    for change, problem in (
        ({"topics": ["faild"]}, "faild is not a topic; allowed: started, delivered"),
        ({"topics": []}, "must not be empty"),
        ({"topics": ["late", "late"]}, "names something twice"),
        ({"channelIds": ["unknown"]}, "unknown is not an alert channel of this sandbox"),
        ({"flowId": "unknown"}, "is not a flow of this sandbox"),
        ({"repeatSeconds": 1}, "must be at least 60"),
    ):
        assert problem in str(deployed.post(RULES, fitting | change, 400))
    rule = deployed.post(RULES, fitting)["id"]
    assert shown(deployed, f"{RULES}/{rule}")["topics"][0] == "failed"
    assert "already exists" in str(deployed.post(RULES, fitting, 409))
    assert "Alert rules use channel ops: r" in str(deployed.delete(f"{CHANNELS}/{channel}", 409))
    deployed.patch(f"{RULES}/{rule}", {"enabled": False, "groupSeconds": 0})
    assert shown(deployed, f"{RULES}/{rule}")["enabled"] is False
    deployed.delete(f"{RULES}/{rule}")
    deployed.delete(f"{CHANNELS}/{channel}")
    assert deployed.get(CHANNELS)["items"] == deployed.get(RULES)["items"] == []


def test_messages_are_listed_in_pages(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    world.rule(channel, single=True)
    world.record(*(world.event("run.failed", number) for number in range(5)))
    world.notify()
    found, path = [], f"{MESSAGES}?limit=2&channelId={channel}&state=sent"
    while path:
        page = deployed.get(path)
        found += page["items"]
        path = page["_links"].get("next", {}).get("href")
    assert len({one["id"] for one in found}) == 5
    assert [one["id"] for one in found] == sorted((one["id"] for one in found), reverse=True)
    assert shown(deployed, f"{MESSAGES}/{found[0]['id']}") == found[0]
    assert "must be one of waiting, sent, dead" in str(deployed.get(f"{MESSAGES}?state=lost", 400))
    deployed.get(f"{MESSAGES}/unknown", 404)


def test_readers_see_alerts_and_change_nothing(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    rule = world.rule(channel)
    with deployed.acting(deployed.new_client("view-destinations")):
        assert deployed.get("/alertKinds")["topics"][0]["name"] == "started"
        assert shown(deployed, f"{CHANNELS}/{channel}")["settings"]["secret"] == MASK
        deployed.post(f"{CHANNELS}/{channel}/action?op=test", None, 403)
        deployed.patch(f"{RULES}/{rule}", {"enabled": False}, 403)
        deployed.delete(f"{CHANNELS}/{channel}", 403)
    assert world.server.received == []


def test_a_channel_of_another_sandbox_does_not_exist(world: World) -> None:
    deployed = world.deployed
    channel = world.channel()
    new = {"name": "dev", "title": "Development", "type": "development"}
    deployed.post("/data/foundation/sandbox-management/sandboxes", new, 202)
    with deployed.acting(deployed.admin, "dev"):
        deployed.get(f"{CHANNELS}/{channel}", 404)
        deployed.post(f"{CHANNELS}/{channel}/action?op=test", None, 404)
        assert "is not an alert channel" in str(deployed.post(RULES, {"name": "r", "channelIds": [channel]}, 400))
