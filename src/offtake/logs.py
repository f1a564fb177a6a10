"""Logging: the format, the request id in each line, and rate limiting of repeated lines."""

import logging
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

NO_REQUEST: Final = "-"
"""The request id of lines that no request caused."""
request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)
FORMAT: Final = "%(asctime)s %(levelname)s %(request_id)s %(name)s %(message)s"
_NOISY: Final = ("pyiceberg", "alembic", "httpx2", "httpcore2", "azure", "botocore")
_REPEATING: Final = ("asyncio", "uvicorn.error")
"""Libraries whose log lines clients can trigger without limit."""
_SECONDS: Final = 1.0


def install(level: int = logging.INFO) -> None:
    """Log to standard error, with the request's id or a hyphen in each line."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(add_request_id)
    handler.addFilter(_repeats)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def add_request_id(record: logging.LogRecord) -> bool:
    """A log filter that adds the request id and passes every record."""
    if not hasattr(record, "request_id"):
        record.request_id = request_id.get()
    return True


def same_line(key: str) -> dict[str, str]:
    """The `extra` of a log call that clients can trigger: one line per second with the same `key` is written."""
    return {"same_line": key}


def write_left_out() -> None:
    """Write the last suppressed line of each key after a second, with the number of suppressed lines."""
    for record in _repeats.due(time.monotonic()):
        logging.getLogger(record.name).handle(record)


@dataclass
class _Kind:
    """Lines with one key: the time of the last written one, and those suppressed since."""

    written: float
    left_out: int = 0
    last: logging.LogRecord | None = None


@dataclass
class Repeats:
    """A log filter that passes one line per second and key, with the number of lines suppressed before it."""

    _kinds: dict[object, _Kind] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        key: object = getattr(record, "same_line", None)
        if key is None and record.name in _REPEATING:
            key = (record.name, record.msg)
        if key is None or getattr(record, "counted", False):
            return True
        now = time.monotonic()
        with self._lock:
            kind = self._kinds.get(key)
            if kind is not None and now - kind.written < _SECONDS:
                kind.left_out, kind.last = kind.left_out + 1, record
                return False
            self._kinds[key] = _Kind(now)
        if kind is not None and kind.left_out:
            _add_count(record, kind.left_out)
        return True

    def due(self, now: float) -> list[logging.LogRecord]:
        """The last suppressed line of each key that is a second old; removes keys without suppressed lines."""
        found = []
        with self._lock:
            for key, kind in list(self._kinds.items()):
                if now - kind.written < _SECONDS:
                    continue
                del self._kinds[key]
                if kind.last is not None:
                    self._kinds[key] = _Kind(now)
                    _add_count(kind.last, kind.left_out - 1)
                    kind.last.counted = True
                    found.append(kind.last)
        return found


_repeats: Final = Repeats()


def _add_count(record: logging.LogRecord, count: int) -> None:
    if count:
        record.msg, record.args = f"{record.getMessage()} ({count} similar lines were suppressed)", ()
