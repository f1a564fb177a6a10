"""What goes wrong in files that users send: CSV, NDJSON and JSON documents, and what is said of how to read them."""

import gzip
import json
from random import Random
from typing import Any, Final

from tests.fuzz import grammar
from tests.fuzz.grammar import Json, one_in

_THEMES: Final[tuple[tuple[str, ...], ...]] = (
    ("1", "2", "-3", "0", "2147483648", "9223372036854775808", "007", "+5", "1_000", " 1", "1.", "\u0661"),
    ("1.5", "-0.0", "1e5", "1E400", ".5", f"{'9' * 30}.123", "NaN", "inf", "-Infinity", "1,5", "0.10"),
    ("true", "false", "TRUE", "t", "yes", "0", "1", "True "),
    ("2026-03-01", "2026-02-30", "0001-01-01", "9999-12-31", "10000-01-01", "01.03.2026", "2026-3-1", "1582-10-10"),
    ("2026-03-01T12:00:00Z", "2026-03-01 12:00:00", "2026-03-01T12:00:00.123456789+01:00", "2026-03-01T24:00:00"),
    ("2026-03-01T12:00:60Z", "2026-03-01T12:00:00+25:00", "2026-03-01T12:00", "0001-01-01T00:00:00+14:00"),
    ("9999-12-31T23:59:59-14:00", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Z", "-0001-01-01T00:00:00Z"),
    ("12:00:00", "23:59:60", "24:00", "12:00:00.1234567", "1:2:3"),
    ("a", "b", "", "NULL", "null", "N/A", "\\N", "-", "nan", '"', '""', "a,b", "é", "\ufeff", " x "),
    ("a", "", "\u0000", "\r", "a\nb", "a\r\nb", "\u2028", "x" * 100),
    ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "{6F9619FF-8B86-D011-B42D-00C04FC964FF}", "6f9619ff8b86d011", "g" * 36),
    ('{"a":1}', "[1,2]", "{", "AQID", "0x01", "dGVzdA==", "=1+1", "$1", "50%"),
)
_NAMES: Final = (
    "id", "a", "b", "A", "a ", "", " ", "city", "tags", "a.b", "a.list.element", "_file", "_pos", "_row_id", "id", "é",
    "e\u0301", "x" * 300, "\u202e", "\0", "a\nb", "element", "key", "value", "1", "null", "`", '"', "\ufeffid",
    "_spec_id",
)  # fmt: skip
_USUAL: Final = ("id", "a", "b", "c", "city", "tags", "at", "x")
_TYPES: Final = (
    "long", "int", "double", "float", "decimal(10,2)", "decimal(38,38)", "decimal(1,0)", "date", "time", "timestamp",
    "timestamptz", "string", "boolean", "uuid", "binary", "fixed(3)", "fixed(2147483647)", "list<long>",
    "map<string,long>", "struct<a: long>", "struct<a: required long, b: list<string>>",
    "list<struct<a: decimal(5,2)>>", "map<long, string>", "decimal(39,1)", "null",
)  # fmt: skip
_CHARSETS: Final = (
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "cp1252", "cp037", "ascii", "shift_jis",
    "gb18030", "big5", "iso2022_jp", "hz", "koi8-r", "mac_roman", "cp65001", "mbcs", "rot13", "base64", "idna",
    "x" * 100, "utf-8\0", "",
)  # fmt: skip
_DELIMITERS: Final = (",", ",", ";", "\t", "|", " ", ":", "a", '"', "\\", "\x01")
_ENDS: Final = ("\n", "\n", "\r\n", "\r", "\n\r", "\x85", "\u2028")


def shape(random: Random, kind: str) -> Json:
    """An `inputFormat` for files of that kind; some of what it says is wrong for any file."""
    said: Json = {"format": "json" if kind != "csv" else kind}
    if kind == "json":
        said["isMultiLineJson"] = True
    if one_in(random, 3):
        names = random.choices(_USUAL if not one_in(random, 8) else _NAMES, k=random.randrange(1, 4))
        said["columnTypes"] = {name: random.choice(_TYPES[:-3] if not one_in(random, 8) else _TYPES) for name in names}
    if kind == "csv" and one_in(random, 2):
        options: Json = {
            "delimiter": random.choice(_DELIMITERS),
            "quote": random.choice(("'", '"', "none", "a", "`")),
            "escape": random.choice(("\\", '"', "none", "a")),
            "nullMarker": random.choice(("NULL", "", "\\N", "-", "a\nb", '"')),
            "header": one_in(random, 2),
            "charset": random.choice(_CHARSETS[:-7] if not one_in(random, 6) else _CHARSETS),
        }
        said |= {name: options[name] for name in random.sample(sorted(options), random.randrange(1, 4))}
    if one_in(random, 4):
        said["nanoseconds"] = random.choice(("text", "truncate", "refuse"))
    return grammar.damaged(random, said) if one_in(random, 15) else said


def content(random: Random, kind: str, said: Json) -> bytes:
    """A file of that kind, more or less."""
    if one_in(random, 30):
        return random.choice((*grammar.RAW_BODIES, b"\n" * 50, b",\n" * 50, b'"', b'"a', b"\x1f\x8b\x08", b"PAR1PAR1"))
    made = {"csv": _csv, "ndjson": _lines, "json": _document}[kind](random, said)
    for _ in range(random.choice((0, 0, 0, 0, 0, 1, 2))):
        made = grammar.cut(random, made)
    return made


def packed(random: Random, made: bytes) -> bytes:
    """The bytes as gzip; now and then in members, cut off, or damaged."""
    half = len(made) // 2
    members = [made] if one_in(random, 2) else [made[:half], made[half:]]
    sent = b"".join(gzip.compress(one, random.randrange(10), mtime=0) for one in members)
    if not one_in(random, 6):
        return sent
    return random.choice((grammar.cut(random, sent), sent[: len(sent) // 2], sent + b"\0\0", sent + b"x"))


def _csv(random: Random, said: Json) -> bytes:
    delimiter = said.get("delimiter") or random.choice(_DELIMITERS)
    delimiter = delimiter if isinstance(delimiter, str) else ","
    end = random.choice(_ENDS)
    width = random.choice((1, 2, 3, 4, 8))
    themes = random.choices(_THEMES, k=width)
    names = random.sample(_NAMES, width) if one_in(random, 3) else random.sample(_USUAL, width)
    table = [names, *([_cell(random, theme) for theme in themes] for _ in range(random.randrange(8)))]
    written = [delimiter.join(_field(random, cell, delimiter) for cell in _ragged(random, row)) for row in table]
    text = end.join(written) + (end if one_in(random, 2) else "")
    charset = said.get("charset", "utf-8") if not one_in(random, 8) else random.choice(_CHARSETS[:8])
    try:
        return text.encode(charset, "surrogatepass" if charset.startswith("utf") else "replace")
    except (LookupError, UnicodeError, AttributeError, TypeError):
        return text.encode("utf-8", "replace")


def _cell(random: Random, theme: tuple[str, ...]) -> str:
    return random.choice(theme) if not one_in(random, 60) else grammar.text(random)


def _ragged(random: Random, row: list[str]) -> list[str]:
    return row if not one_in(random, 200) else row[:-1] or [*row, "x"]


def _field(random: Random, cell: str, delimiter: str) -> str:
    must = any(one in cell for one in (delimiter, '"', "\n", "\r"))
    if one_in(random, 300):
        return f'"{cell}' if one_in(random, 2) else f'{cell}"x'
    return '"' + cell.replace('"', '""') + '"' if must or one_in(random, 5) else cell


def _lines(random: Random, _said: Json) -> bytes:
    """Objects a line; now and then something else, or not on a line of its own."""
    columns = _columns(random)
    lines = [_written(random, _row(random, columns)) for _ in range(random.randrange(8))]
    if lines and one_in(random, 15):
        lines.insert(
            random.randrange(len(lines)), random.choice(("", "[]", "1", "null", "{}", "{", '{"a":1}{"a":2}', "﻿{}"))
        )
    text = random.choice((*["\n"] * 8, "\r\n", "\n\n", " \n", "\r", " ")).join(lines)
    return _encoded(random, text)


def _document(random: Random, _said: Json) -> bytes:
    """A list of objects, an object, or something else altogether."""
    columns = _columns(random)
    found = [_row(random, columns) for _ in range(random.randrange(8))]
    document: Any = random.choice((*[found] * 8, found[:1], {"a": found}, [found], [1], None))
    text = _written(random, document, indent=random.choice((None, 2)))
    if one_in(random, 15):
        text = random.choice(("﻿", " ", "\n", "[", ",", "//x\n")) + text
    return _encoded(random, text)


def _encoded(random: Random, text: str) -> bytes:
    charset = "utf-8" if not one_in(random, 25) else random.choice(_CHARSETS[:5])
    return text.encode(charset, "replace" if not one_in(random, 8) else "surrogatepass")


def _columns(random: Random) -> dict[str, Any]:
    """What the fields of an object are drawn from, by their names."""
    names = random.sample(_NAMES if one_in(random, 6) else _USUAL, random.randrange(1, 5))
    kinds = [_json_number, _json_text, _json_list, _json_object, lambda random: one_in(random, 2)]
    kinds += [grammar.rarely_deep] if one_in(random, 6) else []
    return {name: random.choice(kinds) for name in names}


def _row(random: Random, columns: dict[str, Any]) -> Any:
    row = {name: draw(random) for name, draw in columns.items() if not one_in(random, 10)}
    if row and one_in(random, 25):
        row[random.choice(list(row))] = grammar.value(random)
    return row


def _json_number(random: Random) -> Any:
    return (
        random.choice((random.randrange(1000), 2**40, 1.5, 0.1)) if not one_in(random, 10) else grammar.number(random)
    )


def _json_text(random: Random) -> str:
    return random.choice(random.choice(_THEMES)) if not one_in(random, 8) else grammar.text(random)


def _json_list(random: Random) -> list[Any]:
    return [
        random.choice((1, None, "x", 2.5, [1], {"a": 1})) if one_in(random, 6) else 1
        for _ in range(random.randrange(4))
    ]


def _json_object(random: Random) -> Json:
    return {
        name: random.choice((1, None, "x", {"b": 1}))
        for name in random.sample(("a", "b", "", "A"), random.randrange(4))
    }


def _written(random: Random, document: Any, indent: int | None = None) -> str:
    """JSON as writers write it; `NaN` and what only some readers take among it."""
    text = json.dumps(document, ensure_ascii=one_in(random, 2), indent=indent)
    if one_in(random, 40):
        found = random.choice(("1", "null", "true", ":", ",", '"', "}"))
        put = (
            "1e999",
            "-",
            "01",
            "1.",
            "0x1",
            "1" * 400,
            "'x'",
            "\\ud800",
            "nul",
            "\t",
            '"a":1,"a":2',
            '"\\u0000"',
            "1E+5",
        )
        text = text.replace(found, random.choice(put), 1)
    return text
