"""Folder names: `foldernameTemplate` and the default layout (contract, sections 16.1 and 16.2)."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_LONGEST: Final = 512
_LONGEST_SEGMENT: Final = 255
"""The longest file name on common file systems, and so on SFTP servers."""

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
"""Pattern letters as in Java, except YYYY: the week year in Java, the calendar year in the contract."""

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
"""The macros that stand for a field of `TemplateValues`."""

_ALIKE: Final = 0.7
_EXPORT_TIME: Final = "EXPORT_TIME"
_DEFAULT: Final = "%DATASET_ID%/%EXPORT_TIME%"
MACROS: Final = tuple(f"%{name}%" for name in (*_NAMES, _EXPORT_TIME, "DATETIME(YYYYMMdd_HHmmss)"))


@dataclass(frozen=True)
class TemplateValues:
    """The values of a template's macros, unchanged; `expand` makes them safe for folder names."""

    destination: str
    dataset_id: str
    dataset_name: str
    flow_name: str
    flow_id: str
    sandbox_name: str
    organization_name: str


def check_template(template: str) -> list[str]:
    """The problems of a template, as predicates for a message; empty when it is valid."""
    if not template:
        return ["must not be empty; use / to put files directly under the path"]
    if len(template) > _LONGEST:
        return [f"must not be longer than {_LONGEST} characters, but has {len(template)}"]
    if template.count("%") % 2:
        return ["has an unpaired %; macros have the form %NAME%"]
    found = [
        problem
        for is_macro, text in _pieces(template)
        for problem in (_macro_problems(text) if is_macro else _literal_problems(text))
    ]
    if any(segment and not segment.strip(_TRIMMED) for segment in template.split("/")):
        found.append("must not have a folder of dots or spaces only")
    return list(dict.fromkeys(found))


def unknown_macros(template: str) -> dict[str, str]:
    """The unknown macros of a template, each with the known macro that is most like it; empty text for none."""
    known = {one.strip("%").partition("(")[0]: one for one in MACROS}
    found = {}
    for is_macro, text in _pieces(template):
        if is_macro and text not in _NAMES and text != _EXPORT_TIME and not _DATETIME.fullmatch(text):
            near = difflib.get_close_matches(text.upper().partition("(")[0], known, n=1, cutoff=_ALIKE)
            found[f"%{text}%"] = known[near[0]] if near else ""
    return found


def expand(template: str | None, names: TemplateValues, export_time_ms: int) -> str:
    """The folder of one dataset's files, below the target's path: no slash at either end, `""` for none.

    Without a template: `<dataset id>/exportTime=YYYYMMDDHHMM`. `export_time_ms` is the slot in epoch milliseconds.
    Values never add a folder, and no folder is empty, `.` or `..`.

    Raises `ValueError` for a macro that `check_template` refuses.
    """
    when = datetime.fromtimestamp(export_time_ms // 1000, UTC)
    pieces = _pieces(_DEFAULT if template is None else template)
    whole = "".join(_value(text, names, when) if is_macro else text for is_macro, text in pieces)
    return "/".join(_segment(segment) for segment in whole.split("/") if segment)


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """Split the template at its percent signs: every second piece is a macro."""
    for index, text in enumerate(template.split("%")):
        yield index % 2 == 1, text


def _literal_problems(text: str) -> list[str]:
    found = dict.fromkeys(_UNSAFE_LITERAL.findall(text))
    return [f"must not have {', '.join(map(repr, found))}; outside macros only {_LITERAL_TEXT}"] if found else []


def _macro_problems(text: str) -> list[str]:
    if text in _NAMES or text == _EXPORT_TIME:
        return []
    pattern = _DATETIME.fullmatch(text)
    if pattern is None:
        return [f"has the unknown macro {f'%{text}%'!r}; allowed: {', '.join(MACROS)}"]
    return _pattern_problems(pattern[1])


def _pattern_problems(pattern: str) -> list[str]:
    macro = f"%DATETIME({pattern})%"
    letters = [match[0] for match in _LETTER_RUN.finditer(pattern)]
    if not letters:
        return [f"has no pattern letters in {macro!r}; use for example %DATETIME(YYYYMMdd_HHmmss)%"]
    unsafe = ", ".join(map(repr, dict.fromkeys(_UNSAFE_LITERAL.findall(pattern))))
    found = [f"must not have {unsafe} in {macro!r}; besides letters only . _ - = + @ / and spaces"] if unsafe else []
    unknown = dict.fromkeys(run for run in letters if run not in _LETTERS)
    allowed = ", ".join(_LETTERS)
    return found + [f"has the unknown pattern letters {run} in {macro!r}; allowed: {allowed}" for run in unknown]


def _value(macro: str, names: TemplateValues, when: datetime) -> str:
    if macro == _EXPORT_TIME:
        return when.strftime("exportTime=%Y%m%d%H%M")
    if macro in _NAMES:
        name: str = getattr(names, _NAMES[macro])
        return _UNSAFE.sub("_", name) or "_"
    pattern = _DATETIME.fullmatch(macro)
    if pattern is None or _pattern_problems(pattern[1]):
        raise ValueError(f"The macro %{macro}% is unknown.")
    return _LETTER_RUN.sub(lambda run: when.strftime(_LETTERS[run[0]]), pattern[1])


def _segment(text: str) -> str:
    """A folder's name, trimmed as in the contract; a name that becomes empty, such as `..`, becomes `_`."""
    return text.lstrip(_TRIMMED)[:_LONGEST_SEGMENT].rstrip(_TRIMMED) or "_"
