"""The lines of events that a test's log has, and a check that events have only the fields of their kind."""

from typing import Any

import pytest

from offtake.store import events
from offtake.store.event_kinds import known_fields
from offtake.store.events import Event


def lines(caplog: pytest.LogCaptureFixture, *kinds: str) -> list[dict[str, Any]]:
    """The fields of the events' lines, of these kinds only if there are any; `event` and `level` are added."""
    found = [one for one in caplog.records if one.name == "offtake.events"]
    documents = [
        {"event": one.getMessage(), "level": one.levelname.lower(), **one.__dict__["line_fields"]} for one in found
    ]
    return [one for one in documents if not kinds or one["event"] in kinds]


def install() -> None:
    """Have every event of the tests checked against the table of kinds."""
    with_request = events._with_request  # noqa: SLF001 - all events pass through it

    def checked(event: Event) -> Event:
        unknown = set(event.fields) - known_fields(event.kind)
        assert not unknown, f"{event.kind} has fields that store.event_kinds does not list: {unknown}"
        return with_request(event)

    events._with_request = checked  # noqa: SLF001
