"""Reads YAML and JSON texts into plain values with their line numbers. Plain scalars are resolved as YAML 1.2 does.

So `no` and `12:30` are texts, and only `true` and `false` are booleans. Duplicate keys, tags, and aliases that contain
themselves are refused, and the expansion of aliases is bounded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from offtake.errors import OfftakeError

_LONGEST: Final = 20_000_000
_MOST_VALUES: Final = 1_000_000
_DEEPEST: Final = 50
_MERGE: Final = "<<"
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,300}")
_NUMBER: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str | int, ...]


class TextError(OfftakeError):
    """A text that is not valid. `line`: where, from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True)
class Parsed:
    """A document of a text: its value, and the line of each value in it, by path."""

    value: Any
    lines: dict[Path, int]

    def line_of(self, path: Path) -> int:
        """The line of the value at the path, or of the nearest value around it."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 1)


@dataclass
class _Frame:
    """A sequence or mapping that is being read; `key`: of the value that follows, or None before a key."""

    value: Any
    path: Path
    line: int
    anchor: str | None
    key: Any = None
    merged: list[Any] = field(default_factory=list)
    size: int = 1


class _Reader:
    """Builds one document from the events of the parser."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.root: Any = None
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._total = 0

    def take(self, event: Any) -> None:  # noqa: ANN401 - the parser's classes have no types
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event, line), 1, line, event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._add_alias(str(event.anchor), line)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._open(event, line)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._close()

    def _open(self, event: Any, line: int) -> None:  # noqa: ANN401 - as above
        if event.tag is not None and not event.implicit:
            raise TextError(f"the tag {event.tag} is not supported", line)
        if len(self._stack) >= _DEEPEST:
            raise TextError(f"values are nested more than {_DEEPEST} levels deep", line)
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            raise TextError("a key must be text", line)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        path = self._path()
        self.lines[path] = line
        value: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self._stack.append(_Frame(value, path, line, event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.merged:
            frame.value = _merge(frame)
        self._add(frame.value, frame.size, frame.line, frame.anchor)

    def _add_alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            inside = any(frame.anchor == anchor for frame in self._stack)
            why = "contains itself" if inside else "is not defined before"
            raise TextError(f"the alias *{anchor} {why}", line)
        value, size = self._anchors[anchor]
        self._add(value, size, line, None)

    def _add(self, value: Any, size: int, line: int, anchor: str | None) -> None:  # noqa: ANN401 - any JSON value
        self._total += size
        if self._total > _MOST_VALUES:
            raise TextError(f"the document has more than {_MOST_VALUES} values, with its aliases expanded", line)
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._stack:
            self.root = value
            self.lines.setdefault((), line)
            return
        frame = self._stack[-1]
        frame.size += size
        if isinstance(frame.value, list):
            self.lines.setdefault(self._path(), line)
            frame.value.append(value)
        elif frame.key is None:
            _set_key(frame, value, line)
        else:
            self.lines.setdefault(self._path(), line)
            if frame.key == _MERGE:
                frame.merged += value if isinstance(value, list) else [value]
            else:
                frame.value[frame.key] = value
            frame.key = None

    def _path(self) -> Path:
        if not self._stack:
            return ()
        frame = self._stack[-1]
        return (*frame.path, len(frame.value) if isinstance(frame.value, list) else frame.key)


def parse(text: str) -> Iterator[Parsed]:
    """Read the documents of a text, empty ones left out. Raises `TextError`."""
    if len(text) > _LONGEST:
        raise TextError(f"the text has more than {_LONGEST} characters", 1)
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                reader = _Reader()
            elif isinstance(event, yaml.DocumentEndEvent):
                if reader.root is not None:
                    yield Parsed(reader.root, reader.lines)
            else:
                reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TextError(f"is not valid YAML: {error.problem or error.context}", mark.line + 1 if mark else 1) from None
    except yaml.YAMLError as error:
        raise TextError(f"is not valid YAML: {' '.join(str(error).split())}", 1) from None


def _set_key(frame: _Frame, key: Any, line: int) -> None:  # noqa: ANN401 - any JSON value
    if not isinstance(key, (str, int, float)) or isinstance(key, bool):
        raise TextError("a key must be text", line)
    text = str(key)
    if text in frame.value or (text == _MERGE and frame.merged):
        raise TextError(f"the key {text} occurs twice", line)
    frame.key = text


def _merge(frame: _Frame) -> dict[str, Any]:
    """The mapping with the keys of its merge key (`<<`); its own keys take precedence."""
    found: dict[str, Any] = {}
    for one in reversed(frame.merged):
        if not isinstance(one, dict):
            raise TextError("<< must be an alias of a mapping, or a list of these", frame.line)
        found |= one
    found.update(frame.value)
    return found


def _scalar(event: Any, line: int) -> Any:  # noqa: ANN401 - as above
    text: str = event.value
    if event.tag not in (None, "!", _TEXT_TAG):
        raise TextError(f"the tag {event.tag} is not supported", line)
    if event.style not in (None, "") or event.tag is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
