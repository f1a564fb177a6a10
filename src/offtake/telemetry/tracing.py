"""Spans of traces. Until `start` is called they cost less than a microsecond, and no library is loaded.

The context of a run's trace is stored with the run and sent with its parts, in the form of W3C's `traceparent`.
Attributes hold no secrets: of errors, only the code or the type, because messages of libraries may contain URLs.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Protocol

SpanKind = Literal["internal", "server", "producer", "consumer", "client"]
Value = str | int | float | bool | None
Attributes = Mapping[str, Value]


@dataclass(frozen=True)
class Origin:
    """The process that spans come from. `role`: `server`, `worker` or `part`."""

    version: str
    role: str


class Span(Protocol):
    """A span that is being recorded."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""
        ...

    def rename(self, name: str) -> None:
        """Give it another name."""
        ...

    def fail(self, reason: str) -> None:
        """Mark it as failed. `reason`: a code or the type of an error, never its message."""
        ...


class Tracing(Protocol):
    """Records spans; see `telemetry.otlp`."""

    def span(
        self, name: str, attributes: Attributes, kind: SpanKind, parent: str | None, start_ns: int | None
    ) -> AbstractContextManager[Span]:
        """As `span` below."""
        ...

    def traceparent(self) -> str | None:
        """As `traceparent` below."""
        ...

    def child(self) -> Origin:
        """As `child_setup` below."""
        ...


class _NoSpan:
    """Records nothing."""

    def __enter__(self) -> "_NoSpan":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def set(self, attributes: Attributes) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


_NO_SPAN: Final = _NoSpan()
_NOTHING: Final[Attributes] = {}


class _Current:
    """How this process records spans."""

    tracing: Tracing | None = None


_current: Final = _Current()


def start(tracing: Tracing | None) -> None:
    """Record the spans of this process from now on; None: record none."""
    _current.tracing = tracing


def is_on() -> bool:
    """Whether spans are recorded."""
    return _current.tracing is not None


def span(
    name: str,
    attributes: Attributes = _NOTHING,
    *,
    kind: SpanKind = "internal",
    parent: str | None = None,
    start_ns: int | None = None,
    inner: bool = False,
) -> AbstractContextManager[Span]:
    """Record the block as a span below the current one, or below `parent`, a `traceparent` of another process.

    `start_ns`: when it began, in epoch nanoseconds; None for now. `inner`: only if there is a current span. An error
    that leaves the block marks it as failed.
    """
    if _current.tracing is None or (inner and _current.tracing.traceparent() is None):
        return _NO_SPAN
    return _current.tracing.span(name, attributes, kind, parent, start_ns)


def past(name: str, start_ns: int, attributes: Attributes = _NOTHING) -> None:
    """Record a span that began at `start_ns` and ends now."""
    with span(name, attributes, start_ns=start_ns):
        pass


def traceparent() -> str | None:
    """The current span for another process; None without one."""
    return None if _current.tracing is None else _current.tracing.traceparent()


def now_ns() -> int:
    """The time for `start_ns`."""
    return time.time_ns()


def child_setup() -> Origin | None:
    """What `telemetry.otlp.start_child` needs in a child process, picklable; None without tracing."""
    return None if _current.tracing is None else _current.tracing.child()
