"""Traces by the OpenTelemetry SDK, sent by OTLP over HTTP. It needs `offtake[otel]`, and loads it when it is imported.

The standard variables `OTEL_…` say where to, with which headers, and which traces are sampled.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from multiprocessing.util import Finalize
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from offtake.telemetry import tracing
from offtake.telemetry.tracing import Attributes, Origin

_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}
_HEADER: Final = "traceparent"
_FLUSH_SECONDS: Final = 1.0
_propagator: Final = TraceContextTextMapPropagator()


class _Span:
    """A span of the SDK, as `tracing.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_present(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        self._span.set_attribute("error.type", reason)
        self._span.set_status(Status(StatusCode.ERROR))


class OpenTelemetry:
    """Records spans by a provider of the SDK."""

    def __init__(self, provider: TracerProvider, origin: Origin) -> None:
        self._provider, self._origin = provider, origin
        self._tracer = provider.get_tracer("offtake", origin.version)

    def span(
        self, name: str, attributes: Attributes, kind: tracing.SpanKind, parent: str | None, start_ns: int | None
    ) -> AbstractContextManager[tracing.Span]:
        """As `tracing.span`."""
        context = None if parent is None else _propagator.extract({_HEADER: parent}, Context())
        return self._recorded(name, attributes, _KINDS[kind], context, start_ns)

    @contextmanager
    def _recorded(
        self, name: str, attributes: Attributes, kind: SpanKind, context: Context | None, start_ns: int | None
    ) -> Iterator[tracing.Span]:
        with self._tracer.start_as_current_span(
            name,
            context,
            kind,
            _present(attributes),
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        ) as recorded:
            span = _Span(recorded)
            try:
                yield span
            except BaseException as error:
                code = getattr(error, "code", None)
                span.fail(code if isinstance(code, str) else type(error).__name__)
                raise

    def traceparent(self) -> str | None:
        """As `tracing.traceparent`."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get(_HEADER)

    def child(self) -> Origin:
        """As `tracing.child_setup`."""
        return replace(self._origin, role="part")

    def close(self) -> None:
        """Send what is recorded. Takes a second at most, also when the receiver does not answer."""
        # The SDK's own limits do not hold while a request hangs.
        thread = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        thread.start()
        thread.join(_FLUSH_SECONDS)


def start(origin: Origin) -> OpenTelemetry:
    """Record and send the spans of this process from now on."""
    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "offtake"),
            "service.version": origin.version,
            "offtake.process": origin.role,
            "process.pid": os.getpid(),
        }
    )
    # Not the global provider: libraries that find one record URLs and headers.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    started = OpenTelemetry(provider, origin)
    tracing.start(started)
    return started


def start_child(origin: Origin) -> None:
    """The same in a child process of `multiprocessing`; what is recorded is sent when it ends."""
    Finalize(None, start(origin).close, exitpriority=10)


def _present(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {key: value for key, value in attributes.items() if value is not None}
