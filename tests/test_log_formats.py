"""Each line of the log is one line, whatever names contain; JSON has stable names; a run keeps its request's id."""

import json
import logging
import sys
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake import logs
from offtake.deployment.event_log import EventLog, line_fields
from offtake.logs import JsonFormatter, TextFormatter
from offtake.store.event_kinds import CONTEXT, FIELDS, KINDS, TIMES
from offtake.store.events import Event, EventKind
from tests.conftest import NOON
from tests.deployment import Deployment, rows
from tests.event_lines import lines

SFTP = "36965a81-b1c6-401b-99f8-22508f1e6a26"


class Lines(logging.Handler):
    """The lines that a formatter makes of each record."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def written(event: Event, formatter: logging.Formatter) -> str:
    """The event's line."""
    log, handler = logging.getLogger("offtake.events"), Lines(formatter)
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    try:
        EventLog()(event)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    (line,) = handler.lines
    return line


def delivered(**more: Any) -> Event:
    standard: dict[str, Any] = {
        "flow_id": "f-1",
        "flow_name": "orders",
        "run_id": "r-1",
        "connection_id": "c-1",
        "connection_name": "Partner",
        "connection_spec_id": SFTP,
        "datasets": ["orders"],
        "request_id": "q-1",
        "fields": {"rows": 3, "bytes": 1000, "files": 1, "seconds": 0.5, "bytes_per_second": 2000},
    }
    return Event("run.delivered", "s-1", NOON, **standard | more)


def test_an_event_as_text_begins_with_its_name() -> None:
    assert written(delivered(), TextFormatter()) == (
        "2026-03-01T12:00:00.000Z INFO q-1 offtake.events run.delivered flow=orders dataset=orders destination=SFTP "
        "connection=Partner run=r-1 rows=3 bytes=1000 files=1 seconds=0.5 bytes_per_second=2000"
    )


def test_an_event_as_json_has_all_fields_by_stable_names() -> None:
    assert json.loads(written(delivered(datasets=["a", "b"]), JsonFormatter())) == {
        "timestamp": "2026-03-01T12:00:00.000Z",
        "level": "info",
        "event": "run.delivered",
        "request": "q-1",
        "flow": "orders",
        "flow_id": "f-1",
        "dataset": ["a", "b"],
        "destination": "SFTP",
        "connection": "Partner",
        "connection_id": "c-1",
        "run": "r-1",
        "sandbox": "s-1",
        "rows": 3,
        "bytes": 1000,
        "files": 1,
        "seconds": 0.5,
        "bytes_per_second": 2000,
    }


@given(name=st.text(), message=st.text(), formatter=st.sampled_from([TextFormatter(), JsonFormatter()]))
def test_no_name_and_no_message_makes_a_second_line(name: str, message: str, formatter: logging.Formatter) -> None:
    event = delivered(flow_name=name, datasets=[name, name], fields={"code": "X", "message": message})
    line = written(event, formatter)
    record = logging.LogRecord("offtake.x", logging.INFO, "", 0, "%s is %s", (name, message), None)
    for one in (line, formatter.format(record)):
        assert one.isprintable()
        assert one.encode()
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["flow"] == name
        assert json.loads(line)["message"] == message
    else:
        assert line.count(" run=r-1 ") >= 1


def test_the_lines_of_a_traceback_are_indented_or_in_the_object() -> None:
    try:
        raise ValueError("a\n2026-03-01T12:00:00.000Z INFO - offtake.events run.delivered")  # noqa: TRY301
    except ValueError:
        record = logging.LogRecord("offtake.x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    first, *trace = TextFormatter().format(record).splitlines()
    assert first.endswith(" ERROR - offtake.x failed")
    assert all(line.startswith("    ") for line in trace)
    document = json.loads(JsonFormatter().format(record))
    assert (document["level"], document["logger"], document["message"]) == ("error", "offtake.x", "failed")
    assert "ValueError" in document["exception"]


def test_every_kind_of_event_and_every_field_is_described() -> None:
    assert set(KINDS) == set(get_args(EventKind))
    used = {name for kind in KINDS.values() for name in kind.fields}
    assert used == set(FIELDS)
    assert used.isdisjoint(CONTEXT)
    assert set(line_fields(delivered())) <= set(CONTEXT) | used
    assert used >= TIMES


def test_the_parts_of_a_run_are_written_once_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "offtake.events")
    log = EventLog()
    log(Event("run.started", "s", NOON, run_id="r"))
    for number in range(150):
        log(Event("run.part_done", "s", NOON + number * 1000, run_id="r", fields={"rows": 1}))
    found = lines(caplog, "run.part_done")
    assert [one["parts"] for one in found] == [61, 60]


def test_lines_about_a_run_have_the_id_of_the_request_that_started_it(
    deployed: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)))
    deployed.run_due()
    deployed.import_rows("events", rows(3, 3))
    caplog.clear()
    caplog.set_level(logging.INFO, "offtake.events")
    started = deployed.http.post(
        f"/data/foundation/flowservice/flows/{flow}/run", json={"fullExport": False}, headers={"x-request-id": "mine-7"}
    )
    assert started.status_code == 201, started.text
    assert logs.request_id.get() == logs.NO_REQUEST
    deployed.run_due()
    found = [one for one in caplog.records if one.name == "offtake.events"]
    assert [(one.getMessage(), one.__dict__["request_id"]) for one in found] == [
        ("run.started", "mine-7"),
        ("run.delivered", "mine-7"),
    ]


def test_no_line_has_a_secret(deployed: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "offtake.events")
    auth: dict[str, Any] = {
        "specName": "SFTP with Password",
        "params": {"domain": "127.0.0.1", "port": 9, "username": "u", "password": "hunter-2-secret"},
    }
    spec = {"id": SFTP, "version": "1.0"}
    row = deployed.post("/connections", {"name": "partner", "connectionSpec": spec, "auth": auth})["id"]
    params = auth["params"] | {"password": "secret-3"}
    deployed.patch(f"/connections/{row}", [{"op": "replace", "path": "/auth/params", "value": params}])
    deployed.get(f"/connections/{row}/test")
    deployed.delete(f"/connections/{row}")
    found = lines(caplog)
    assert [one["event"] for one in found] == [
        "connection.created",
        "connection.changed",
        "connection.tested",
        "connection.deleted",
    ]
    assert "secret" not in str([record.__dict__ for record in caplog.records])
