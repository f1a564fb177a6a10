"""The commands of alerts in the same process and over the network: what they do, and what they refuse."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from offtake.alerts import topics
from offtake.alerts.channels.registry import KINDS
from offtake.client.alerts import DEFAULT_TOPICS, SETTINGS, TOPICS
from offtake.declarations.models import AlertChannelDocument
from tests.alerts.receivers import Receiver, receiver
from tests.alerts.world import World
from tests.cli.test_both_ways import Way, json_of, refused, says
from tests.cli.test_both_ways import way as way  # noqa: PLC0414 - a fixture
from tests.deployment import Deployment


@pytest.fixture(scope="module")
def _receiver() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def server(_receiver: Receiver) -> Receiver:
    _receiver.received.clear()
    _receiver.status = 200
    return _receiver


def test_a_channel_and_a_rule_are_created_tested_changed_and_deleted(
    way: Way, server: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(server.url + "\n")
    made = json_of(way, "alert", "channel", "create", "ops", "--kind", "webhook", "--url", server.url)
    assert len(made["generated"]["secret"]) > 40
    text = says(way, "alert", "channel", "create", "chat", "--kind", "slack", "--url-file", str(tmp_path / "url"))
    assert "offtake alert channel test chat" in text
    assert "Success: 200 OK" in says(way, "alert", "channel", "test", "chat")
    assert server.url not in says(way, "alert", "channel", "show", "chat")
    server.status = 503
    assert "127.0.0.1 answers 503" in refused(way, "alert", "channel", "test", "ops")
    assert [one["name"] for one in json_of(way, "alert", "channel", "list")] == ["chat", "ops"]
    assert "ops\twebhook\tready" in says(way, "alert", "channel", "list")
    says(way, "alert", "channel", "edit", "ops", "--name", "operations", "--url", server.url + "2")
    assert json_of(way, "alert", "channel", "show", "operations")["settings"]["url"] == server.url + "2"
    assert "must be sent again" in refused(way, "alert", "channel", "edit", "operations", "--url", "https://x.example/")
    rule = ("alert", "rule", "create", "trouble", "--channel", "operations", "--channel", "chat")
    assert json_of(way, *rule, "--on", "failed", "--on", "late", "--single")["topics"] == ["failed", "late"]
    assert "trouble\tall\tfailed, late\toperations, chat\tenabled" in says(way, "alert", "rule", "list")
    assert "faild is not a topic" in refused(way, "alert", "rule", "edit", "trouble", "--on", "faild")
    assert json_of(way, "alert", "rule", "edit", "trouble", "--disable", "--channel", "chat")["enabled"] is False
    assert "Alert rules use channel chat: trouble" in refused(way, "alert", "channel", "delete", "chat")
    assert json_of(way, "alert", "rule", "delete", "trouble")["deleted"]
    assert "is deleted" in says(way, "alert", "channel", "delete", "chat")


def test_messages_are_listed_and_sent_again(way: Way, server: Receiver, deployed: Deployment) -> None:
    world = World(deployed, server)
    world.rule(world.channel(), single=True)
    server.status = 422
    world.record(*(world.event("run.failed", number) for number in range(103)))
    world.notify()
    dead = json_of(way, "alert", "list", "--state", "dead", "--limit", "102")
    assert len({one["id"] for one in dead}) == 102
    line = says(way, "alert", "list", "--limit", "1")
    assert "\tdead\t1\tops\tA run of flow flow" in line
    assert "422" in line
    server.status = 200
    assert "is sent again" in says(way, "alert", "retry", dead[0]["id"])
    world.notify()
    assert [one["id"] for one in json_of(way, "alert", "list", "--state", "sent")] == [dead[0]["id"]]
    assert "was sent already" in refused(way, "alert", "retry", dead[0]["id"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("channel", "create", "x", "--kind", "slack", "--url", "https://x/y"), "must not be the secret itself"),
        (("channel", "create", "x", "--kind", "slack"), "--url is missing"),
        (("channel", "create", "x", "--kind", "webhook"), "--url is missing"),
        (("channel", "create", "x", "--kind", "email", "--url", "u"), "not an option of kind email, which has --to"),
        (("channel", "create", "x", "--kind", "pager"), "must be one of webhook, email"),
        (("channel", "test", "opps"), "No alert channel"),
        (("rule", "create", "x"), "--channel is missing"),
        (("retry", "01K"), "The alert 01K is not found. See: offtake alert list"),
    ],
)
def test_what_does_not_fit_is_refused(way: Way, words: tuple[str, ...], message: str) -> None:
    code, out, err = way("alert", *words)
    assert (code > 0, out) == (True, "")
    assert message in err
    assert "https://x/y" not in err


def test_the_client_knows_the_servers_kinds_and_topics() -> None:
    assert tuple(topics.TOPICS) == TOPICS
    assert topics.DEFAULT == DEFAULT_TOPICS
    assert set(get_args(AlertChannelDocument.model_fields["type"].annotation)) == set(KINDS)
    known = {kind: {field.key: field.secret for field in fields} for kind, fields in SETTINGS.items()}
    assert known == {
        kind.name: {
            (field.alias or name): (field.alias or name) in kind.model.secrets()
            for name, field in kind.model.model_fields.items()
        }
        for kind in KINDS.values()
    }
    assert json.dumps(known)
