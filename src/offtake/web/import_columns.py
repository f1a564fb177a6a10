"""The tables of an import's review: the columns with their types, and the first rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from offtake.catalog import column_types
from offtake.catalog.batches import InputFormat
from offtake.catalog.import_drafts import Checked, Draft
from offtake.documents import Json

MOST_COLUMNS: Final = 200
_MOST_ROWS: Final = 10
_MOST_PREVIEWED: Final = 40
_LONGEST_CELL: Final = 200
_LONGEST_NAME: Final = 255
_OFFERED: Final = (
    "string",
    "long",
    "int",
    "decimal(18,2)",
    "double",
    "boolean",
    "date",
    "timestamp",
    "timestamptz",
    "time",
)
_NUMBERS: Final = ("int", "long", "float", "double", "decimal")
_NESTED: Final = ("struct", "list", "map")


@dataclass(frozen=True)
class ColumnLine:
    """A column of the dataset after the import. `choices`: (value, label) pairs of its types; empty if it has none."""

    name: str
    type: str
    change: str
    choices: Sequence[tuple[str, str]]
    chosen: str


def lines(
    draft: Draft, shape: InputFormat, checked: Checked | None, preview: Json, types: Mapping[str, str]
) -> list[ColumnLine]:
    """The first columns: those of the dry run, else those of the first file, whose types are not known."""
    if checked is None or not checked.effect["columns"]:
        known = [(one["name"], "", "") for one in preview["columns"]]
    else:
        added, retyped = set(checked.effect["columnsAdded"]), set(checked.effect["typesChanged"])
        known = [
            (one["name"], one["type"], "new" if one["name"] in added else "new type" if one["name"] in retyped else "")
            for one in checked.effect["columns"]
        ]
    is_new = draft.dataset is None
    return [
        _line(name, kind, change, types, has_choice=shape.format != "parquet" and (is_new or change == "new"))
        for name, kind, change in known[:MOST_COLUMNS]
    ]


def other_types(types: Mapping[str, str], shown: Collection[ColumnLine]) -> str:
    """The chosen types of columns that have no choice of their own, as lines of text."""
    chosen = {one.name for one in shown if one.choices}
    return "\n".join(f"{name}:{kind}" for name, kind in types.items() if name not in chosen)


def first_rows(preview: Json, checked: Checked | None) -> Json:
    """The first rows and columns, for the table component: rows are lists of (text, kind) pairs."""
    columns = preview["columns"][:_MOST_PREVIEWED]
    found = {} if checked is None else {one["name"]: one["type"] for one in checked.effect["columns"]}
    kinds = ["number" if found.get(one["name"], "").startswith(_NUMBERS) else "" for one in columns]
    rows = [
        [(row.get(one["cid"], "")[:_LONGEST_CELL], kind) for one, kind in zip(columns, kinds, strict=True)]
        for row in preview["rows"][:_MOST_ROWS]
    ]
    headings: list[dict[str, Any]] = [
        {"label": one["name"], "kind": kind} for one, kind in zip(columns, kinds, strict=True)
    ]
    return {
        "headings": headings,
        "names": [one["name"] for one in columns],
        "rows": rows,
        "all": len(preview["columns"]),
    }


def _line(name: str, kind: str, change: str, types: Mapping[str, str], *, has_choice: bool) -> ColumnLine:
    chosen = types.get(name, "")
    is_simple = not kind.startswith(_NESTED) and len(name) <= _LONGEST_NAME and _is_declarable(name)
    if not (is_simple and (has_choice or chosen)):
        return ColumnLine(name, kind, change, (), "")
    found = "as found" if chosen or not kind else f"{kind} (found)"
    offered = _OFFERED if not chosen or chosen in _OFFERED else (chosen, *_OFFERED)
    return ColumnLine(
        name, kind, change, [("", found), *((f"{name}:{one}", one) for one in offered)], chosen and f"{name}:{chosen}"
    )


def _is_declarable(name: str) -> bool:
    """Whether a type can be declared for a column of that name, as `name:type`."""
    try:
        return column_types.split_column(f"{name}:string").name == name
    except column_types.ColumnTypeError:
        return False
