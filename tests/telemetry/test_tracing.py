"""Traces: one from the call or the tick to each part and destination call, without secrets, and nothing when off."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from offtake.deployment.tracing_settings import traced
from offtake.errors import OfftakeError
from offtake.settings import Settings
from offtake.telemetry import tracing
from offtake.telemetry.otlp import OpenTelemetry
from tests.attacks.server import CATALOG, FLOW_SERVICE, make_flow, serving
from tests.commands import Command
from tests.deployment import deployment
from tests.fake_clock import FakeClock
from tests.telemetry.trace_receiver import receiving
from tests.worker_processes import Inline

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans of this process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.start(OpenTelemetry(provider, tracing.Origin("test", "server")))
    yield exporter
    tracing.start(None)


def path(span: ReadableSpan, spans: InMemorySpanExporter) -> list[str]:
    """The names of the span and of those above it."""
    by_id = {one.context.span_id: one for one in spans.get_finished_spans()}
    names, current = [span.name], span
    while current.parent is not None and current.parent.span_id in by_id:
        current = by_id[current.parent.span_id]
        names.append(current.name)
    return names


def test_a_call_and_a_tick_lead_to_the_parts_and_the_destination(
    tmp_path: Path, clock: FakeClock, spans: InMemorySpanExporter
) -> None:
    with deployment(tmp_path / "data", clock, Inline()) as deployed:
        flow = deployed.flow(deployed.import_rows("d", [{"id": 1}]), params={"includeFileManifest": True})
        deployed.http.headers["traceparent"] = CALLER
        deployed.post(f"/flows/{flow}/run", {"fullExport": True})
        deployed.run_due()
        call = f"POST {FLOW_SERVICE}/flows/{{flow_id}}/run"
        found = spans.get_finished_spans()
        enqueued = [call, "run.enqueue"]
        run = [*enqueued, "run"]
        assert {" > ".join(path(one, spans)[::-1]) for one in found if call in path(one, spans)} == {
            " > ".join(names)
            for names in (
                [call],
                enqueued,
                run,
                [*run, "run.claim"],
                [*run, "run.load"],
                [*run, "run.plan"],
                [*run, "run.manifest"],
                [*run, "run.manifest", "destination open"],
                [*run, "run.manifest", "destination put"],
                [*run, "run.manifest", "destination close"],
                [*run, "run.commit"],
                [*run, "part"],
                [*run, "part", "destination open"],
                [*run, "part", "destination put"],
                [*run, "part", "destination close"],
            )
        }
        (top,) = [one for one in found if one.name == call]
        assert top.parent is not None
        assert (f"{top.context.trace_id:032x}", f"{top.parent.span_id:016x}") == tuple(CALLER.split("-")[1:3])
        (part,) = [one for one in found if one.name == "part"]
        assert dict(part.attributes or {}).items() >= {"offtake.part": 0, "offtake.rows": 1}.items()
        spans.clear()
        clock.advance(hours=4)
        deployed.import_rows("d", [{"id": 2}])
        deployed.run_due()
        (part,) = [one for one in spans.get_finished_spans() if one.name == "part"]
        assert path(part, spans) == ["part", "run", "run.enqueue", "scheduler.tick"]


def test_a_failure_has_its_code_and_no_message(tmp_path: Path, clock: FakeClock, spans: InMemorySpanExporter) -> None:
    with deployment(tmp_path / "data", clock, Inline()) as deployed:
        deployed.flow(deployed.import_rows("d", [{"id": 1}]))
        deployed.zone.parent.mkdir(exist_ok=True)
        deployed.zone.write_text("in the way of the folder")
        clock.advance(hours=4)
        deployed.run_due()
    failed = {one.name: dict(one.attributes or {}) for one in spans.get_finished_spans() if not one.status.is_ok}
    assert "part" in failed
    assert failed["part"]["error.type"].startswith("EXPORT-")  # type: ignore[union-attr] # text
    assert not any(one.events for one in spans.get_finished_spans())


def test_one_trace_across_the_server_a_worker_and_its_parts(tmp_path: Path) -> None:
    with receiving() as receiver:
        settings = {"OFFTAKE_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        settings |= {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret-of-traces"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            with serving(tmp_path, "--no-worker", multi_user=False) as server:
                flow = make_flow(server, b'{"id": 1}\n', int(time.time()) + 3600)
                worker = Command(
                    ["worker", "--data-dir", server.data_dir],
                    {**os.environ, "OFFTAKE_MULTI_USER": "false"},
                    tmp_path / "worker.log",
                )
                try:
                    while "success" not in server.call("GET", f"{CATALOG}/batches").text:
                        time.sleep(0.1)
                    path = f"{FLOW_SERVICE}/flows/{flow}/run?secret-of-query=1"
                    started = server.call("POST", path, json={"fullExport": True}, headers={"traceparent": CALLER})
                    assert started.status_code == 201, started.text
                    receiver.wait_for("run.commit", "run", "part", "destination put")
                finally:
                    worker.terminate()
                    assert worker.wait(20) == 0
                token = server.headers["Authorization"].encode()
    call = f"POST {FLOW_SERVICE}/flows/{{flow_id}}/run"
    part, put = receiver.one("part"), receiver.one("destination put")
    assert receiver.path(put) == ["destination put", "part", "run", "run.enqueue", call]
    processes = [receiver.one(name).process for name in (call, "run.enqueue", "run", "part", "destination put")]
    assert processes == ["server", "server", "worker", "part", "part"]
    assert len({one.pid for one in (receiver.one(call), receiver.one("run"), part)}) == 3
    assert {one.trace_id for one in (put, part, receiver.one("run"), receiver.one(call))} == {CALLER.split("-")[1]}
    assert receiver.one(call).parent_id == CALLER.split("-")[2]
    assert not any(one.failed for one in receiver.spans)
    for secret in (b"secret-of", token.partition(b" ")[2], server.admin["client_secret"].encode()):
        assert secret not in receiver.sent


def test_a_receiver_that_does_not_answer_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with serving(tmp_path, tracing=True) as server:
        assert server.call("GET", f"{FLOW_SERVICE}/flows").status_code == 200
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 10


def test_settings_that_cannot_be_followed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tracing=True)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(OfftakeError, match="OTEL_EXPORTER_OTLP_PROTOCOL is grpc"), traced(settings, "server"):
        pass
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    monkeypatch.delitem(sys.modules, "offtake.telemetry.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(OfftakeError, match=r"pip install 'offtake\[otel\]'") as refused, traced(settings, "server"):
        pass
    assert "\n" not in str(refused.value)
    assert not tracing.is_on()
    with traced(Settings(), "server"):
        assert tracing.traceparent() is None
