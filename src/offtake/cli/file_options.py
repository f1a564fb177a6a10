"""The parsing options of `dataset import`, and the column options of `dataset create`."""

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

_NAMES: Final = {"nullMarker": "null", "charset": "encoding", "columnTypes": "type"}
"""The options whose names differ from those in a batch's `inputFormat`."""


def parse(values: dict[str, Any], files: Sequence[Path]) -> ParseOptions:
    """Convert the options for the parsers. Raises `OfftakeError`, which names the option and what is allowed."""
    document = {name: value for name, value in values.items() if value is not None}
    try:
        options = bodies.parse_document(FileOptions, document)
    except Problem as error:
        raise OfftakeError(_sentence(error)) from None
    for_csv = options.csv_only_options()
    if for_csv and not any(path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")) for path in files):
        option = "no-header" if for_csv[0] == "header" else _NAMES.get(for_csv[0], for_csv[0])
        raise OfftakeError(f"--{option} is for CSV files only: at least one file name must end in .csv or .tsv.")
    return parse_options(options)


def types_by_name(texts: Sequence[str]) -> dict[str, str] | None:
    """Parse the values of `--type`: types by column name, or None."""
    found: dict[str, str] = {}
    for text in texts:
        column = column_types.split_column(text)
        if column.required:
            raise OfftakeError(f"--type {text}: only `offtake dataset create` can declare a column as required.")
        if column.name in found:
            raise OfftakeError(f"--type {text}: duplicate column {column.name}.")
        found[column.name] = column.type
    return found or None


def declare_options(columns: Sequence[str], schema: Path | None) -> list[dict[str, Any]] | None:
    """The declared columns in the API's format, or None."""
    if columns and schema is not None:
        raise OfftakeError("Give either --column or --schema.")
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
    """The error's message, with the options' names of the command line."""
    parts = []
    for problem in error.fields:
        name = problem.path.split("/")[1]
        message = problem.message
        parts.append(f"--{_NAMES.get(name, name)}: {message}" if name else message)
    return "; ".join(parts) or str(error)
