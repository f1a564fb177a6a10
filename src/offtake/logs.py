"""Logging: the format of lines (text or JSON), the request id in each, and rate limiting of repeated lines.

Each line of text, and each JSON object, is one line whatever names and messages contain: control characters, line
separators and other characters that are not printable are escaped. Only a traceback follows its line of text, in
indented lines.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

NO_REQUEST: Final = "-"
"""The request id of lines that no request caused."""
request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)
_VARIABLE: Final = "OFFTAKE_LOG_FORMAT"
_EVENT: Final = "event_kind"
_FIELDS: Final = "line_fields"
_NOISY: Final = ("pyiceberg", "alembic", "httpx2", "httpcore2", "azure", "botocore")
_REPEATING: Final = ("asyncio", "uvicorn.error")
"""Libraries whose log lines clients can trigger without limit."""
_SECONDS: Final = 1.0
_LONGEST: Final = 2000
"""Characters of a field's value in a line."""
_BARE: Final = frozenset("._:/+@-")


def current_request() -> str | None:
    """The id of the request that is being served; None outside of requests."""
    served = request_id.get()
    return None if served == NO_REQUEST else served


def install(log_format: LogFormat | None = None, level: LogLevel = "info") -> None:
    """Log to standard error. `log_format` None: as `OFFTAKE_LOG_FORMAT`, for lines before the settings are read."""
    handler = logging.StreamHandler()
    is_json = (log_format or os.environ.get(_VARIABLE)) == "json"
    handler.setFormatter(JsonFormatter() if is_json else TextFormatter())
    handler.addFilter(add_request_id)
    handler.addFilter(_repeats)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def installed_format() -> LogFormat:
    """The format of this process's lines, for its child processes."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    return "json" if any(isinstance(one, JsonFormatter) for one in formatters) else "text"


def event_line(kind: str, fields: Mapping[str, object], request: str | None) -> dict[str, object]:
    """The `extra` of a log call that writes an event; its message is not used."""
    return {_EVENT: kind, _FIELDS: fields, "request_id": request or NO_REQUEST}


def with_fields(**fields: object) -> dict[str, object]:
    """The `extra` of a log call: fields of the line's JSON object, in addition to its message."""
    return {_FIELDS: fields}


class TextFormatter(logging.Formatter):
    """Lines of text: time (UTC), level, request id or a hyphen, logger, message or event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback follows in indented lines."""
        fields: Mapping[str, object] = getattr(record, _FIELDS, {})
        kind = getattr(record, _EVENT, None)
        message = escape(record.getMessage()) if kind is None else kind
        pairs = [] if kind is None else [f"{key}={_text_value(fields[key])}" for key in _keys_of_text(fields)]
        request = getattr(record, "request_id", NO_REQUEST)
        words = (_timestamp(record), record.levelname, request, record.name, message, *pairs)
        trace = _traceback(record)
        return "".join([" ".join(words), *(f"\n    {escape(line)}" for line in trace.split("\n") if trace)])


class JsonFormatter(logging.Formatter):
    """Lines of JSON, one object each: `timestamp`, `level`, `event` or `logger`, `request`, and the line's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, in ASCII."""
        kind, request = getattr(record, _EVENT, None), getattr(record, "request_id", NO_REQUEST)
        document: dict[str, Any] = {"timestamp": _timestamp(record), "level": record.levelname.lower()}
        document |= {"event": kind} if kind is not None else {"logger": record.name, "message": record.getMessage()}
        if request != NO_REQUEST:
            document["request"] = request
        document |= {key: value for key, value in getattr(record, _FIELDS, {}).items() if key not in document}
        trace = _traceback(record)
        return json.dumps(document | ({"exception": trace} if trace else {}), default=str)


def escape(text: str) -> str:
    """The text in one line: every character that is not printable, such as a line break, as an escape sequence."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _keys_of_text(fields: Mapping[str, object]) -> list[str]:
    """The fields without ids that a person does not need: of what has a name, or belongs to the line's run."""
    needless = {"sandbox", "connection_id", *(("flow_id",) if "run" in fields else ())}
    return [key for key in fields if key not in needless]


def _text_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return f"[{','.join(_text_value(one) for one in value)}]"
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    if text and all(one.isascii() and (one.isalnum() or one in _BARE) for one in text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(quoted)}"'


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(record: logging.LogRecord) -> str:
    parts = [logging.Formatter().formatException(record.exc_info)] if record.exc_info else []
    parts += [record.stack_info] if record.stack_info else []
    return "\n".join(parts)


def add_request_id(record: logging.LogRecord) -> bool:
    """A log filter that adds the request id and passes every record."""
    if not hasattr(record, "request_id"):
        record.request_id = request_id.get()
    return True


def same_line(key: str, seconds: float = 1.0) -> dict[str, Any]:
    """The `extra` of a log call that may repeat: one line with the same `key` is written in that time."""
    return {"same_line": key, "same_line_seconds": seconds}


def retried(what: str) -> dict[str, Any]:
    """The `extra` of a log call about background work that fails and is tried again each second or so."""
    return same_line(f"retried: {what}", seconds=60.0)


def write_left_out() -> None:
    """Write the last suppressed line of each key when its time is over, with the number of suppressed lines."""
    for record in _repeats.due(time.monotonic()):
        logging.getLogger(record.name).handle(record)


@dataclass
class _Kind:
    """Lines with one key, one in `seconds`: the time of the last written one, and those suppressed since."""

    written: float
    seconds: float
    left_out: int = 0
    last: logging.LogRecord | None = None


@dataclass
class Repeats:
    """A log filter that passes one line per key and its time, with the number of lines suppressed before it."""

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
            if kind is not None and now - kind.written < kind.seconds:
                kind.left_out, kind.last = kind.left_out + 1, record
                return False
            self._kinds[key] = _Kind(now, getattr(record, "same_line_seconds", _SECONDS))
        if kind is not None and kind.left_out:
            _add_count(record, kind.left_out)
        return True

    def due(self, now: float) -> list[logging.LogRecord]:
        """The last suppressed line of each key whose time is over; removes keys without suppressed lines."""
        found = []
        with self._lock:
            for key, kind in list(self._kinds.items()):
                if now - kind.written < kind.seconds:
                    continue
                del self._kinds[key]
                if kind.last is not None:
                    self._kinds[key] = _Kind(now, kind.seconds)
                    _add_count(kind.last, kind.left_out - 1)
                    kind.last.counted = True
                    found.append(kind.last)
        return found


_repeats: Final = Repeats()


def _add_count(record: logging.LogRecord, count: int) -> None:
    if count:
        record.msg, record.args = f"{record.getMessage()} ({count} similar lines were suppressed)", ()
