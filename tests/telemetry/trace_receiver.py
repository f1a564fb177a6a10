"""A receiver of traces: OTLP over HTTP with protobuf, as collectors take it."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A span as it was received. `process`: the role of the process that it comes from."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    process: str
    pid: int
    attributes: dict[str, Any]
    failed: bool
    seconds: float


@dataclass
class Receiver:
    """What has arrived."""

    endpoint: str
    spans: list[Received] = field(default_factory=list)
    sent: bytes = b""

    def wait_for(self, *names: str, seconds: float = 30) -> None:
        """Return when spans of all these names have arrived."""
        until = time.monotonic() + seconds
        while missing := set(names) - {one.name for one in self.spans}:
            assert time.monotonic() < until, (missing, [one.name for one in self.spans])
            time.sleep(0.1)

    def one(self, name: str) -> Received:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def path(self, span: Received) -> list[str]:
        """The names of the span and of those above it, as far as they have arrived."""
        above = {one.span_id: one for one in self.spans}
        names, current = [span.name], span
        while current.parent_id in above:
            current = above[current.parent_id]
            names.append(current.name)
        return names


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            receiver.sent += body
            receiver.spans += _spans(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(body: bytes) -> Iterator[Received]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _attributes(resource.resource.attributes)
        assert about["service.name"] == "offtake"
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert not span.events
                yield Received(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    about["offtake.process"],
                    about["process.pid"],
                    _attributes(span.attributes),
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in pairs}
