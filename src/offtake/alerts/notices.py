"""A notice: what a message reports, independent of the channel that delivers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from offtake.documents import Json

MOST_EVENTS: Final = 100
"""Events in one notice; further ones are only counted."""
_SHOWN: Final = 5
_LONGEST_TITLE: Final = 200
_LONGEST_LINE: Final = 500

Severity = Literal["problem", "recovery", "information"]


@dataclass(frozen=True)
class Notice:
    """What one message reports.

    `id`: stable over all attempts, so that receivers can recognise duplicates. `type`: `alert` for grouped events, the
    event's kind for a single one, or `test`. `cause`: what the events have in common. `count`: events, of which
    `events` has the first 100; `flows`: flows that they concern. Instants are epoch milliseconds.
    """

    id: str
    type: str
    severity: Severity
    title: str
    sandbox: str
    organisation: str
    rule: str
    cause: str
    at_ms: int
    first_ms: int
    last_ms: int
    count: int
    flows: int
    events: Sequence[Json]

    def to_document(self) -> Json:
        """The notice as stored with each of its messages, without the message's id."""
        return {
            "type": self.type,
            "severity": self.severity,
            "title": self.title,
            "sandbox": self.sandbox,
            "organisation": self.organisation,
            "rule": self.rule,
            "cause": self.cause,
            "at": self.at_ms,
            "firstAt": self.first_ms,
            "lastAt": self.last_ms,
            "count": self.count,
            "flowCount": self.flows,
            "events": list(self.events),
        }

    @classmethod
    def of_document(cls, message_id: str, document: Mapping[str, Any]) -> Self:
        """The notice of a stored message."""
        return cls(
            id=message_id,
            type=document["type"],
            severity=document["severity"],
            title=document["title"],
            sandbox=document["sandbox"],
            organisation=document["organisation"],
            rule=document["rule"],
            cause=document["cause"],
            at_ms=document["at"],
            first_ms=document["firstAt"],
            last_ms=document["lastAt"],
            count=document["count"],
            flows=document["flowCount"],
            events=document["events"],
        )

    def headline(self) -> str:
        """One printable line."""
        return one_line(self.title, _LONGEST_TITLE)

    def details(self) -> list[str]:
        """The lines to show below the headline: without the sentence of a single event that is the headline."""
        found = self.lines()
        return found[1:] if found[0] == self.headline() else found

    def lines(self) -> list[str]:
        """A few printable lines for people: the first events, how many there are besides, and where they come from."""
        shown = [one for event in self.events[:_SHOWN] for one in _lines_of(event)]
        if self.count > _SHOWN:
            shown.append(f"and {self.count - _SHOWN} more, since {instant(self.first_ms)}")
        return [*shown, f"Sandbox {one_line(self.sandbox)}, rule {one_line(self.rule)}, message {self.id}"]


def _lines_of(event: Json) -> list[str]:
    found = [one_line(event["text"])]
    return [*found, f"→ {one_line(event['remedy'])}"] if event.get("remedy") else found


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """The text as one printable line: names may contain line breaks and characters that change the direction."""
    printable = "".join(one if one.isprintable() else " " for one in text[: 2 * longest])
    line = " ".join(printable.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def instant(epoch_ms: int) -> str:
    """The instant in UTC for people, such as `2026-03-01 12:00 UTC`."""
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def iso_instant(epoch_ms: int) -> str:
    """The instant by RFC 3339, in UTC, to the millisecond."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
