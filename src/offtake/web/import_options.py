"""The options of an import's review: read from a URL or a form, as an input format, and back into a URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import ImmutableMultiDict

from offtake.catalog import column_types, import_drafts
from offtake.catalog.batches import InputFormat
from offtake.contract import problems
from offtake.documents import Json
from offtake.web.local_paths import local_path

LABELS: Final[Mapping[str, str]] = {
    "name": "Name of the new dataset",
    "format": "Format",
    "delimiter": "Delimiter",
    "quote": "Quote character",
    "escape": "Escape character",
    "nullMarker": "Text that means null",
    "charset": "Encoding",
    "header": "First line",
    "columnTypes": "Types of columns",
    "nanoseconds": "Times finer than microseconds",
}
JSON_DOCUMENT: Final = "json-document"
SELECTS: Final = "columnType"
"""The name of the fields with the type of one column each, as `name:type`."""
_LONGEST: Final = 10_000
_MOST_SELECTS: Final = 1000


@dataclass(frozen=True)
class ImportOptions:
    """The options as they were sent. `selects`: the types of single columns; `next`: where the import leads."""

    values: Mapping[str, str]
    selects: tuple[str, ...]
    evolve: bool
    next: str

    def types(self) -> dict[str, str]:
        """The chosen types, by column. Raises 1452."""
        found = import_drafts.parse_types(self.values["columnTypes"])
        try:
            for one in self.selects:
                column = column_types.split_column(one)
                found[column.name] = column.type
        except column_types.ColumnTypeError as error:
            raise problems.of_field("/columnTypes", str(error)) from None
        return found

    def document(self) -> Json:
        """The options as an input format; without `format` if it is to be found out. Raises 1452 for wrong types."""
        sent = self.values
        skipped = {"name", "format", "columnTypes"}
        document: Json = {name: sent[name] for name in LABELS if sent[name] and name not in skipped}
        if sent["format"]:
            document["format"] = "json" if sent["format"] == JSON_DOCUMENT else sent["format"]
            document["isMultiLineJson"] = sent["format"] == JSON_DOCUMENT
        if "header" in document:
            document["header"] = document["header"] != "data"
        types = self.types()
        return document | ({"columnTypes": types} if types else {})

    def query(self, **changes: str) -> str:
        """The options as a URL's query, some of them changed."""
        pairs = [(name, value) for name, value in {**self.values, **changes}.items() if value]
        pairs += [(SELECTS, one) for one in self.selects]
        pairs += [("evolve", "true")] if self.evolve else []
        pairs += [("next", self.next)] if self.next else []
        return urlencode(pairs)


def read(sent: "ImmutableMultiDict[str, object]") -> ImportOptions:
    """The options in a URL's query or in a form."""

    def one(name: str) -> str:
        value = sent.get(name, "")
        return value[:_LONGEST] if isinstance(value, str) else ""

    selects = [value for value in sent.getlist(SELECTS) if isinstance(value, str) and value]
    values = {name: one(name) for name in LABELS}
    values |= {name: values[name].strip() for name in ("name", "charset", "format")}
    return ImportOptions(
        values=values,
        selects=tuple(value[:_LONGEST] for value in selects[:_MOST_SELECTS]),
        evolve=one("evolve") == "true",
        next=local_path(one("next")),
    )


def format_name(shape: InputFormat | None) -> str:
    """The format as the form calls it; empty if it is not known."""
    if shape is None:
        return ""
    return JSON_DOCUMENT if shape.is_multi_line_json else shape.format
