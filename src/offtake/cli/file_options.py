"""The options of `dataset import` that say how files are read, and those of `dataset create` that declare columns."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from offtake.catalog import column_types
from offtake.catalog.column_types import Column
from offtake.catalog.file_options import FileOptions, parse_options
from offtake.contract import bodies
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError
from offtake.lake.parsing.options import ParseOptions

Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", help="CSV: what separates values; recognised by default. A tab: \\t or tab."),
]
Quote = Annotated[
    str | None, typer.Option("--quote", help='CSV: the quote character, " by default; none for no quoting.')
]
Escape = Annotated[str | None, typer.Option("--escape", help="CSV: the escape character; none by default.")]
Null = Annotated[str | None, typer.Option("--null", help="CSV: the word that stands for no value, such as NULL.")]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="CSV: the text encoding, as Python names it; UTF-8 by default.")
]
NoHeader = Annotated[bool, typer.Option("--no-header", help="CSV: the first line is a row, not the columns' names.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="A column's type, as name:type, such as zip:string; repeatable.")
]
Nanoseconds = Annotated[
    str | None,
    typer.Option("--nanoseconds", help="Times with more than six digits of a second: text, truncate or refuse."),
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

_NAMES: Final = {"nullMarker": "null", "charset": "encoding", "columnTypes": "type"}
"""The options whose names differ from those in a batch's `inputFormat`."""


def parse(given: dict[str, Any], files: Sequence[Path]) -> ParseOptions:
    """The options as the parsers take them. Raises `OfftakeError` naming the option and what is allowed."""
    document = {name: value for name, value in given.items() if value is not None}
    try:
        said = bodies.parse_document(FileOptions, document)
    except Problem as error:
        raise OfftakeError(_sentence(error)) from None
    for_csv = said.given_for_csv()
    if for_csv and not any(path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")) for path in files):
        option = "no-header" if for_csv[0] == "header" else _NAMES.get(for_csv[0], for_csv[0])
        raise OfftakeError(f"--{option} is for CSV files only, and no file's name ends in .csv or .tsv.")
    return parse_options(said)


def types_by_name(texts: Sequence[str]) -> dict[str, str] | None:
    """The columns of `--type`, by name."""
    found: dict[str, str] = {}
    for text in texts:
        column = column_types.split_column(text)
        if column.required:
            raise OfftakeError(f"--type {text}: a column is declared as required when its dataset is made.")
        if column.name in found:
            raise OfftakeError(f"--type {text}: column {column.name} is given twice.")
        found[column.name] = column.type
    return found or None


def declare_options(columns: Sequence[str], schema: Path | None) -> list[dict[str, Any]] | None:
    """The declared columns as the API takes them; None when there are none."""
    if columns and schema is not None:
        raise OfftakeError("Give --column or --schema, not both.")
    if columns:
        return [_document(column_types.split_column(text)) for text in columns]
    if schema is None:
        return None
    try:
        document = json.loads(schema.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OfftakeError(f"{schema} is not a JSON document: {error}") from None
    return column_types.documents(column_types.parse_schema(document))


def _document(column: Column) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, "required": column.required}


def _sentence(error: Problem) -> str:
    """What is wrong, by the options' names here."""
    parts = []
    for problem in error.fields:
        name = problem.path.split("/")[1]
        message = problem.message.removeprefix("Value error, ")
        parts.append(f"--{_NAMES.get(name, name)}: {message}" if name else message)
    return "; ".join(parts) or str(error)
