"""The parsing options of `dataset import`, and the column options of `dataset create`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from offtake.errors import OfftakeError

Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", help="CSV: the delimiter; detected by default. A tab: \\t or tab."),
]
Quote = Annotated[
    str | None, typer.Option("--quote", help='CSV: the quote character, " by default; none for no quoting.')
]
Escape = Annotated[str | None, typer.Option("--escape", help="CSV: the escape character; none by default.")]
Null = Annotated[str | None, typer.Option("--null", help="CSV: the text that means null, such as NULL.")]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="CSV: the text encoding, a name known to Python; UTF-8 by default.")
]
NoHeader = Annotated[bool, typer.Option("--no-header", help="CSV: the first line is data, not a header.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="A column's type, as name:type, such as zip:string; repeatable.")
]
Nanoseconds = Annotated[
    str | None,
    typer.Option("--nanoseconds", help="Times with more than microseconds: text, truncate or refuse."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="A column, as name:type or name:type:required, such as id:long:required; repeatable."
    ),
]
SchemaFile = Annotated[
    Path | None,
    typer.Option("--schema", help='A JSON file: {"columns": [{"name", "type", "required"}]}, or an Iceberg schema.'),
]

_FOR_ALL: Final = ("columnTypes", "nanoseconds")
_TYPE: Final = re.compile(
    r"\s*(?:(?:boolean|int|long|float|double|date|time|timestamp|timestamptz|string|uuid|binary)\s*$"
    r"|(?:decimal|fixed|struct|list|map)\s*[(<\[])",
    re.IGNORECASE,
)
NAMES: Final = {"nullMarker": "null", "charset": "encoding", "columnTypes": "type"}
"""The options whose names differ from those in a batch's `inputFormat`."""


def check(values: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
    """The options that are set, by their names in `inputFormat`; raises `OfftakeError` for CSV options without CSV."""
    document = {name: value for name, value in values.items() if value is not None}
    for_csv = [name for name in document if name not in _FOR_ALL]
    if for_csv and not any(path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")) for path in files):
        option = "no-header" if for_csv[0] == "header" else NAMES.get(for_csv[0], for_csv[0])
        raise OfftakeError(f"--{option} is for CSV files only: at least one file name must end in .csv or .tsv.")
    return document


def types_by_name(texts: Sequence[str]) -> dict[str, str] | None:
    """Parse the values of `--type`: types by column name, or None. A name may contain colons."""
    found: dict[str, str] = {}
    for text in texts:
        if text.endswith(":required"):
            raise OfftakeError(f"--type {text}: only `offtake dataset create` can declare a column as required.")
        name, mark, kind = _split(text)
        if not mark:
            raise OfftakeError(f"--type {text}: give the column and its type, as name:type.")
        if name in found:
            raise OfftakeError(f"--type {text}: duplicate column {name}.")
        found[name] = kind
    return found or None


def declare_options(columns: Sequence[str], schema: Path | None) -> list[str] | dict[str, Any] | None:
    """The declared columns in a format of the API, or None; the server checks them."""
    if columns and schema is not None:
        raise OfftakeError("Give either --column or --schema.")
    if columns:
        return list(columns)
    if schema is None:
        return None
    try:
        document = json.loads(schema.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OfftakeError(f"{schema} is not a JSON document: {error}") from None
    if not isinstance(document, dict):
        raise OfftakeError(f'{schema} must be a JSON object: {{"columns": […]}}, or an Iceberg schema.')
    return document


def _split(text: str) -> tuple[str, str, str]:
    """Name, colon and type: at the first colon that a type follows, else at the first one."""
    steps = text.split(":")
    for number in range(1, len(steps)):
        if _TYPE.match(":".join(steps[number:])):
            return ":".join(steps[:number]), ":", ":".join(steps[number:])
    return text.partition(":")
