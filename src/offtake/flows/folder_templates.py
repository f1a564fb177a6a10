"""Folder names: `foldernameTemplate` and the default layout (contract, sections 16.1 and 16.2)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_LONGEST: Final = 512
_LONGEST_SEGMENT: Final = 255
"""The longest file name that common file systems, and so SFTP servers, take."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._\-=+@ ]")
_UNSAFE_LITERAL: Final = re.compile(r"[^A-Za-z0-9._\-=+@ /]")
_LITERAL_TEXT: Final = "letters, digits, spaces and . _ - = + @ /"
_TRIMMED: Final = ". "

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
"""Pattern letters as in Java, but for YYYY: there it is the year of the week, the contract means the calendar year."""

_NAMES: Final = {
    "DESTINATION": "destination",
    "DESTINATION_NAME": "destination",
    "DATASET_ID": "dataset_id",
    "DATASET_NAME": "dataset_name",
    "DESTINATION_INSTANCE_NAME": "flow_name",
    "DESTINATION_INSTANCE_ID": "flow_id",
    "SANDBOX_NAME": "sandbox_name",
    "ORGANIZATION_NAME": "organization_name",
}
"""Each macro that is a name, and the field of `TemplateValues` it stands for."""

_EXPORT_TIME: Final = "EXPORT_TIME"
_DEFAULT: Final = "%DATASET_ID%/%EXPORT_TIME%"
MACROS: Final = tuple(f"%{name}%" for name in (*_NAMES, _EXPORT_TIME, "DATETIME(YYYYMMdd_HHmmss)"))


@dataclass(frozen=True)
class TemplateValues:
    """What the macros of a template stand for, as people wrote it; `expand` makes it fit for a folder."""

    destination: str
    dataset_id: str
    dataset_name: str
    flow_name: str
    flow_id: str
    sandbox_name: str
    organization_name: str


def check_template(template: str) -> list[str]:
    """What is wrong with a template, in plain words that follow its name; empty when it can be used."""
    if not template:
        return ["must not be empty; use / to put files directly under the path"]
    if len(template) > _LONGEST:
        return [f"must not be longer than {_LONGEST} characters, and has {len(template)}"]
    if template.count("%") % 2:
        return ["has a % that is not closed; macros are written %NAME%"]
    found = [
        problem
        for is_macro, text in _pieces(template)
        for problem in (_macro_problems(text) if is_macro else _literal_problems(text))
    ]
    if any(segment and not segment.strip(_TRIMMED) for segment in template.split("/")):
        found.append("must not have a folder made of dots or spaces only")
    return list(dict.fromkeys(found))


def expand(template: str | None, names: TemplateValues, export_time_ms: int) -> str:
    """The folder of one dataset's files, below the target's path: no slash at either end, `""` for none.

    Without a template: `<dataset id>/exportTime=YYYYMMDDHHMM`. `export_time_ms` is the slot in epoch milliseconds.
    Whatever the names hold, they add no folder, and none of the folders is empty, `.` or `..`.

    Raises `ValueError` for a macro that `check_template` refuses.
    """
    when = datetime.fromtimestamp(export_time_ms // 1000, UTC)
    pieces = _pieces(_DEFAULT if template is None else template)
    whole = "".join(_value(text, names, when) if is_macro else text for is_macro, text in pieces)
    return "/".join(_segment(segment) for segment in whole.split("/") if segment)


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """The template cut at its percent signs: every second piece is a macro."""
    for index, text in enumerate(template.split("%")):
        yield index % 2 == 1, text


def _literal_problems(text: str) -> list[str]:
    found = dict.fromkeys(_UNSAFE_LITERAL.findall(text))
    return [f"must not have {', '.join(map(repr, found))}; beside macros only {_LITERAL_TEXT}"] if found else []


def _macro_problems(text: str) -> list[str]:
    if text in _NAMES or text == _EXPORT_TIME:
        return []
    pattern = _DATETIME.fullmatch(text)
    if pattern is None:
        return [f"has the unknown macro {f'%{text}%'!r}; allowed: {', '.join(MACROS)}"]
    return _pattern_problems(pattern[1])


def _pattern_problems(pattern: str) -> list[str]:
    where = f"%DATETIME({pattern})%"
    letters = [match[0] for match in _LETTER_RUN.finditer(pattern)]
    if not letters:
        return [f"has no pattern letters in {where!r}; write %DATETIME(YYYYMMdd_HHmmss)%"]
    unsafe = ", ".join(map(repr, dict.fromkeys(_UNSAFE_LITERAL.findall(pattern))))
    found = (
        [f"must not have {unsafe} in {where!r}; beside letters only the characters . _ - = + @ / and spaces"]
        if unsafe
        else []
    )
    unknown = dict.fromkeys(run for run in letters if run not in _LETTERS)
    allowed = ", ".join(_LETTERS)
    return found + [f"has the unknown pattern letters {run} in {where!r}; allowed: {allowed}" for run in unknown]


def _value(macro: str, names: TemplateValues, when: datetime) -> str:
    if macro == _EXPORT_TIME:
        return when.strftime("exportTime=%Y%m%d%H%M")
    if macro in _NAMES:
        name: str = getattr(names, _NAMES[macro])
        return _UNSAFE.sub("_", name) or "_"
    pattern = _DATETIME.fullmatch(macro)
    if pattern is None or _pattern_problems(pattern[1]):
        raise ValueError(f"The macro %{macro}% is not known.")
    return _LETTER_RUN.sub(lambda run: when.strftime(_LETTERS[run[0]]), pattern[1])


def _segment(text: str) -> str:
    """One folder's name, trimmed as the contract says; a name with nothing left, such as `..`, becomes `_`."""
    return text.lstrip(_TRIMMED)[:_LONGEST_SEGMENT].rstrip(_TRIMMED) or "_"
