"""A deployment with a channel, rules and events, for the tests of alerts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import update

from offtake.scheduling.notifier import Notifier
from offtake.store import events
from offtake.store.events import Event
from offtake.store.tables import AlertMessage, Connection
from tests.alerts.receivers import Receiver
from tests.deployment import ZONE, Deployment

Json = dict[str, Any]
SECRET = "a-secret-of-a-webhook"
CHANNELS = "/alertChannels"
RULES = "/alertRules"
MESSAGES = "/alertMessages"
AWAY: Json = {
    "code": "EXPORT-2003-504",
    "message": "sftp.partner.example:22 could not be reached.",
    "remedy": "Check the destination and the network.",
}


@dataclass
class World:
    """A deployment, its notifier and a receiver."""

    deployed: Deployment
    server: Receiver
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.notifier = Notifier(self.deployed.backend)

    def channel(self, name: str = "ops", **settings: Any) -> str:
        """A webhook; its id."""
        body = {"name": name, "kind": "webhook", "settings": {"url": self.server.url, "secret": SECRET} | settings}
        return str(self.deployed.post(CHANNELS, body)["id"])

    def rule(self, channel: str, name: str = "trouble", **more: Any) -> str:
        """A rule; its id."""
        return str(self.deployed.post(RULES, {"name": name, "channelIds": [channel]} | more)["id"])

    def connection(self, address: str | None = "sftp.partner.example:22", name: str = "partner") -> str:
        """The row of a connection at that address; its id."""
        caller = self.deployed.caller
        row = Connection(
            id=str(uuid4()),
            org_id=caller.org_id,
            sandbox_id=caller.sandbox_id,
            created_at=0,
            updated_at=0,
            created_by="test",
            updated_by="test",
            created_client="test",
            updated_client="test",
            version="1",
            name=name,
            state="enabled",
            connection_spec_id=ZONE,
            address=address,
        )
        with self.deployed.backend.database.writing() as session:
            session.add(row)
        return row.id

    def record(self, *found: Event) -> None:
        """Store events."""
        with self.deployed.backend.database.writing() as session:
            for one in found:
                events.record(session, one)

    def event(self, kind: str, number: int = 0, **more: Any) -> Event:
        """An event of a flow with that number."""
        flow = (
            {}
            if kind.startswith(("connection.", "workers."))
            else {
                "flow_id": f"flow-{number}",
                "flow_name": f"flow {number}",
            }
        )
        values: Json = {"sandbox_id": self.deployed.caller.sandbox_id, "at_ms": self.deployed.clock.ms, **flow, **more}
        return Event(kind, **values)  # type: ignore[arg-type] # a kind as text

    def notify(self) -> int:
        """Group and send everything that is due; how many messages were received."""
        before = len(self.server.received)
        while self.notifier.group():
            pass
        self.notifier.send_all()
        return len(self.server.received) - before

    def wait(self, seconds: float, step: float = 60) -> int:
        """Handle what is new, and let time pass in steps; how many messages were received."""
        count = self.notify()
        while seconds > 0:
            self.deployed.clock.advance(seconds=min(step, seconds))
            seconds -= step
            count += self.notify()
        return count

    def rule_and_event(self) -> None:
        """A channel with a rule of single messages and one of groups, and an event for both."""
        self.deployed.sign_in()
        channel = self.channel()
        self.rule(channel, single=True)
        self.rule(channel, "grouped")
        self.record(self.event("run.failed", 1))

    def dead_letter(self) -> None:
        """A channel, a rule, and a message that failed for good."""
        self.rule_and_event()
        self.notifier.group()
        with self.deployed.backend.database.writing() as session:
            session.execute(update(AlertMessage).values(state="dead", answer="410 Gone"))

    def titles(self) -> Iterable[str]:
        """The titles of what was received."""
        return [one["data"]["title"] for one in self.server.documents]

    def messages(self, query: str = "") -> list[Json]:
        """The messages as the API lists them."""
        self.deployed.sign_in()
        found: list[Json] = self.deployed.get(f"{MESSAGES}?{query}")["items"]
        return found
