"""The pages for alerts: channels, rules and messages, with a real receiver of webhooks."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from offtake.store.tables import AlertChannel, AlertRule
from tests.alerts.receivers import Receiver, receiver
from tests.alerts.world import AWAY, World
from tests.deployment import Deployment
from tests.web.browsing import Visitor, fields_of, signed_in, words

CHANNELS = "/ui/prod/alerts/channels"
RULES = "/ui/prod/alerts/rules"
SECRET = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiver() as opened:
        yield opened


def stored(deployed: Deployment, table: Any) -> list[Any]:
    with deployed.backend.database.reading() as session:
        found = list(session.scalars(select(table)))
        session.expunge_all()
        return found


def new_channel(person: Visitor, url: str, **form: Any) -> dict[str, Any]:
    """The form of a new webhook, filled in."""
    return fields_of(person.get(f"{CHANNELS}/new?kind=webhook")) | {"name": "ops", "s-url": url} | form


def test_a_generated_secret_is_shown_also_if_the_form_is_sent_twice(deployed: Deployment, hook: Receiver) -> None:
    person = signed_in(deployed)
    sent = new_channel(person, hook.url)
    answers = [person.post(f"{CHANNELS}/new", sent, status=200).text for _ in range(2)]
    secrets = [set(SECRET.findall(answer)) for answer in answers]
    assert len(secrets[0]) == 1
    assert secrets[0] == secrets[1]
    (row,) = stored(deployed, AlertChannel)
    # From now on, it is shown nowhere.
    page = person.get(f"{CHANNELS}/{row.id}")
    assert secrets[0].isdisjoint(SECRET.findall(page))
    assert "stored, not shown" in words(page)
    assert "Signing secret" in words(person.get(f"{CHANNELS}/{row.id}/change"))


def test_a_channel_is_tested_changed_and_removed(deployed: Deployment, hook: Receiver) -> None:
    person = signed_in(deployed)
    person.post(f"{CHANNELS}/new", new_channel(person, hook.url, **{"s-secret": "one-of-ours-16-or-more"}))
    (row,) = stored(deployed, AlertChannel)
    url = f"{CHANNELS}/{row.id}"
    assert "The receiver accepted the message." in words(person.post(f"{url}/test", status=200).text)
    assert [one["type"] for one in hook.documents] == ["offtake.test"]
    hook.status = 500
    assert "The message was not accepted." in words(person.post(f"{url}/test", status=200).text)
    # Another server's URL needs the secret again, and the form says so at its field.
    form = fields_of(person.get(f"{url}/change")) | {"s-url": "https://other.example/hook"}
    refused = words(person.post(f"{url}/change", form, status=422).text)
    assert "Signing secret" in refused
    form = fields_of(person.get(f"{url}/change")) | {"name": "ops 2"}
    person.post(f"{url}/change", form)
    # The same form again is of an older version.
    person.post(f"{url}/change", form, status=409)
    rule = World(deployed, hook).rule(row.id)
    assert "Rules send to this channel." in words(person.get(url))
    person.post(f"{url}/remove", {"typed": "ops 2"}, status=409)
    person.post(f"{RULES}/{rule}/remove", {"typed": "trouble"})
    person.post(f"{url}/remove", {"typed": "another"}, status=422)
    person.post(f"{url}/remove", {"typed": "ops 2"})
    assert stored(deployed, AlertChannel) == []


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": ""}, "Name"),
        ({"s-url": "not a url"}, "URL"),
        ({"s-url": "http://169.254.169.254/latest"}, "169.254.169.254"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_at_its_field(
    deployed: Deployment, form: dict[str, str], said: str
) -> None:
    person = signed_in(deployed)
    sent = new_channel(person, "https://hooks.example.org/a", **form)
    answer = person.post(f"{CHANNELS}/new", sent, status=422).text
    assert said in words(answer)
    assert stored(deployed, AlertChannel) == []


def test_a_rule_reports_a_failure_and_its_message_is_shown(deployed: Deployment, hook: Receiver) -> None:
    world, person = World(deployed, hook), signed_in(deployed)
    channel = world.channel()
    sent = fields_of(person.get(f"{RULES}/new?channel={channel}")) | {"name": "trouble", "channelIds": channel}
    sent["topics"] = ["failed", "late"]
    person.post(f"{RULES}/new", sent)
    person.post(f"{RULES}/new", sent)
    (rule,) = stored(deployed, AlertRule)
    assert (rule.topics, rule.channel_ids, rule.single) == (["failed", "late"], [channel], False)
    hook.status = 410
    world.record(world.event("run.failed", fields=AWAY))
    world.wait(60)
    page = person.get("/ui/prod/alerts?state=dead")
    (message,) = set(re.findall(r"/ui/prod/alerts/messages/(\w+)", page))
    shown = words(person.get(f"/ui/prod/alerts/messages/{message}"))
    assert AWAY["message"] in shown
    assert "410" in shown
    hook.status = 200
    person.post(f"/ui/prod/alerts/messages/{message}/retry")
    world.notify()
    assert message in person.get("/ui/prod/alerts?state=sent")
    assert len(hook.documents) == 2
    form = fields_of(person.get(f"{RULES}/{rule.id}")) | {"grouping": "single", "channelIds": channel}
    person.post(f"{RULES}/{rule.id}", form)
    assert stored(deployed, AlertRule)[0].single


def test_a_flow_links_to_the_rules_that_report_it(deployed: Deployment, hook: Receiver) -> None:
    world, person = World(deployed, hook), signed_in(deployed)
    flow = deployed.flow(deployed.import_rows("events", [{"id": 1}]))
    assert "no rule reports it" in words(person.get(f"/ui/prod/flows/{flow}"))
    world.rule(world.channel(), flowId=flow)
    assert "1 rule reports it" in words(person.get(f"/ui/prod/flows/{flow}"))
    assert "trouble" in words(person.get(f"{RULES}?flow={flow}"))


def test_who_may_only_see_destinations_changes_nothing(deployed: Deployment, hook: Receiver) -> None:
    world = World(deployed, hook)
    channel = world.channel()
    rule = world.rule(channel)
    person = signed_in(deployed, deployed.new_client("view-destinations"))
    for path in ("", "/channels", f"/channels/{channel}", "/rules", f"/rules/{rule}"):
        page = person.get(f"/ui/prod/alerts{path}")
        assert re.findall(r'method="post" action="(/ui/prod/alerts[^"]*)"', page) == []
    for path in ("channels/new", f"channels/{channel}/test", f"channels/{channel}/change", f"rules/{rule}"):
        person.post(f"/ui/prod/alerts/{path}", {"typed": "ops"}, status=403)
    assert hook.documents == []
