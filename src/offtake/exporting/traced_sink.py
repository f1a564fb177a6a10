"""A sink whose calls are spans: what a run does at its destination, and how long that takes."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager

from offtake.destinations.base import BeforeCompletion, Pending, Sink, StoredObject
from offtake.telemetry import tracing
from offtake.telemetry.tracing import Span


class TracedSink:
    """Passes each call on to the sink. The span of `put` includes the encoding of what it writes."""

    def __init__(self, sink: Sink, destination: str) -> None:
        self._sink, self._destination = sink, destination

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        before_completion: BeforeCompletion | None = None,
        writer: int = 0,
    ) -> int:
        """See `Sink`."""
        with self._span("put", key) as span:
            written = self._sink.put(key, chunks, before_completion, writer)
            span.set({"offtake.bytes": written})
        return written

    def settle(self, key: str, pending: Pending) -> bool:
        """See `Sink`."""
        with self._span("settle", key):
            return self._sink.settle(key, pending)

    def recall(self, key: str, pending: Pending | None = None, *, again: bool = False) -> bool:
        """See `Sink`."""
        with self._span("recall", key):
            return self._sink.recall(key, pending, again=again)

    def size(self, key: str) -> int | None:
        """See `Sink`."""
        with self._span("size", key):
            return self._sink.size(key)

    def is_gone(self, key: str) -> bool:
        """See `Sink`."""
        with self._span("is_gone", key):
            return self._sink.is_gone(key)

    def read(self, key: str) -> Iterator[bytes]:
        """See `Sink`; not a span, because the caller reads while other calls are made."""
        return self._sink.read(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Sink`; not a span, as above."""
        return self._sink.list(prefix)

    def delete(self, key: str) -> None:
        """See `Sink`."""
        with self._span("delete", key):
            self._sink.delete(key)

    def clear(self, keys: Collection[str], upto: int | None = None) -> int:
        """See `Sink`."""
        with self._span("clear", None):
            return self._sink.clear(keys, upto)

    def uri(self, key: str) -> str:
        """See `Sink`; it calls nothing."""
        return self._sink.uri(key)

    def close(self) -> None:
        """See `Sink`."""
        with self._span("close", None):
            self._sink.close()

    def _span(self, name: str, key: str | None) -> AbstractContextManager[Span]:
        return span_of_call(name, self._destination, key)


def span_of_call(name: str, destination: str, key: str | None = None) -> AbstractContextManager[Span]:
    """The span of a call of a destination. `destination`: its type; `key`: of a file, below the destination's root."""
    attributes = {"offtake.destination": destination, "offtake.file": key}
    return tracing.span(f"destination {name}", attributes, kind="client", inner=True)
