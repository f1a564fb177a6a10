"""Folder names: `foldernameTemplate` and the default layout (contract, sections 16.1 and 16.2)."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_LONGEST: Final = 512
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._\-=+@ ]")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._\-=+@ /]*")
_DATETIME: Final = re.compile(r"DATETIME\((.*)\)", re.DOTALL)
_LETTER_RUN: Final = re.compile(r"([A-Za-z])\1*")
_LETTERS: Final = {
    "YYYY": "%Y",
    "yyyy": "%Y",
    "MM": "%m",
    "dd": "%d",
    "DD": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
}
"""Java-like pattern letters. In Java YYYY is the week's year; the vendor means the calendar year."""


@dataclass(frozen=True)
class FolderNames:
    """What the macros of a template stand for."""

    destination: str
    dataset_id: str
    dataset_name: str
    flow_name: str
    flow_id: str
    sandbox_name: str
    organization_name: str


_NAMES: Final[dict[str, Callable[[FolderNames], str]]] = {
    "DESTINATION": lambda names: names.destination,
    "DESTINATION_NAME": lambda names: names.destination,
    "DATASET_ID": lambda names: names.dataset_id,
    "DATASET_NAME": lambda names: names.dataset_name,
    "DESTINATION_INSTANCE_NAME": lambda names: names.flow_name,
    "DESTINATION_INSTANCE_ID": lambda names: names.flow_id,
    "SANDBOX_NAME": lambda names: names.sandbox_name,
    "ORGANIZATION_NAME": lambda names: names.organization_name,
}
_EXPORT_TIME: Final = "EXPORT_TIME"
MACROS: Final = tuple(f"%{name}%" for name in (*_NAMES, _EXPORT_TIME, "DATETIME(YYYYMMdd_HHmmss)"))


def check_template(template: str) -> list[str]:
    """What is wrong with a template, in plain words; nothing when it can be used."""
    if not template:
        return ["must not be empty; use / to put files directly under the path"]
    if len(template) > _LONGEST:
        return [f"must not be longer than {_LONGEST} characters"]
    if template.count("%") % 2:
        return ["has a % that is not closed; macros are written %NAME%"]
    found = [problem for macro, text in _pieces(template) for problem in _problems(macro, text)]
    segments = template.split("/")
    if any(segment.strip(". ") == "" and segment for segment in segments):
        found.append("must not have a folder made of dots or spaces only")
    return found


def expand(template: str | None, names: FolderNames, export_time_ms: int) -> str:
    """The folder of one dataset's files, below the target's path: no slash at either end, `""` for none.

    Without a template: `<dataset id>/exportTime=YYYYMMDDHHMM`. `export_time_ms` is the slot, epoch milliseconds.
    """
    when = datetime.fromtimestamp(export_time_ms / 1000, UTC)
    if template is None:
        return f"{names.dataset_id}/{_export_time(when)}"
    whole = "".join(_value(text, names, when) if macro else text for macro, text in _pieces(template))
    segments = (segment.strip(". ") for segment in whole.split("/"))
    return "/".join(segment for segment in segments if segment)


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """The template cut at its percent signs: every second piece is a macro."""
    for index, text in enumerate(template.split("%")):
        yield index % 2 == 1, text


def _problems(macro: bool, text: str) -> list[str]:
    if not macro:
        if _LITERAL.fullmatch(text):
            return []
        return [f"may hold letters, digits and . _ - = + @ / and spaces beside macros, not {text!r}"]
    if text in _NAMES or text == _EXPORT_TIME:
        return []
    pattern = _DATETIME.fullmatch(text)
    if pattern is None:
        return [f"has the unknown macro %{text}%; allowed: {', '.join(MACROS)}"]
    return _pattern_problems(pattern[1])


def _pattern_problems(pattern: str) -> list[str]:
    if not pattern:
        return ["has a %DATETIME()% without a pattern, such as YYYYMMdd_HHmmss"]
    if not _LITERAL.fullmatch(pattern):
        return [f"has characters in %DATETIME({pattern})% that folder names cannot have"]
    unknown = [run for run in _letter_runs(pattern) if run not in _LETTERS]
    allowed = ", ".join(_LETTERS)
    return [f"has {run} in %DATETIME({pattern})%; allowed letters: {allowed}" for run in unknown]


def _letter_runs(pattern: str) -> Iterator[str]:
    return (match[0] for match in _LETTER_RUN.finditer(pattern))


def _value(macro: str, names: FolderNames, when: datetime) -> str:
    if macro == _EXPORT_TIME:
        return _export_time(when)
    if macro in _NAMES:
        return _UNSAFE.sub("_", _NAMES[macro](names)).strip(". ") or "_"
    pattern = _DATETIME.fullmatch(macro)
    return _LETTER_RUN.sub(lambda run: when.strftime(_LETTERS[run[0]]), pattern[1]) if pattern else macro


def _export_time(when: datetime) -> str:
    return when.strftime("exportTime=%Y%m%d%H%M")
