"""Lists that are short enough to filter and sort in memory: sandboxes and roles (contract, sections 26 and 27)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from offtake.contract import filters, problems
from offtake.contract.problems import Problem
from offtake.documents import Json

MOST: Final = 1000
_ORDER: Final = re.compile(r"\s*(?:(asc|desc)\s*:)?\s*(.+?)\s*", re.DOTALL)


@dataclass(frozen=True)
class ShortQuery:
    """A parsed request for a short list; `start`: offset of the first document to return."""

    limit: int
    start: int = 0
    properties: tuple[str, ...] = ()
    order_by: str = ""


@dataclass(frozen=True)
class ListPage:
    """One page; `following`: offset of the next page, None on the last."""

    items: list[Json]
    following: int | None


def short_query(
    limit: str | None, start: str | None, properties: Sequence[str], order_by: str | None, default_limit: int
) -> ShortQuery:
    """Parse the parameters; empty ones count as absent. Raises 1452."""
    return ShortQuery(
        limit=min(_number("/limit", limit, default_limit, least=1), MOST),
        start=_number("/start", start, 0, least=0),
        properties=tuple(one.strip() for one in properties if filters.is_filter(one)),
        order_by=(order_by or "").strip(),
    )


def select_page(documents: Sequence[Json], query: ShortQuery, fields: Sequence[str]) -> ListPage:
    """The requested page of the documents that match every filter; `fields`: names for filters and order.

    Without an order, the documents keep theirs. Raises 1433, 1448, 1449, and the errors of `filters.parse_all`.
    """
    expressions = filters.parse_all(query.properties)
    for expression in expressions:
        _check_field(expression.path, fields, problems.FILTER_FIELD)
        if expression.operator not in ("==", "!="):
            raise Problem(problems.FILTER_KIND, f"{expression.path} can be compared by == and != only.")
    found = _sort(
        [document for document in documents if filters.matches_document(expressions, document)],
        query.order_by,
        fields,
    )
    end = query.start + query.limit
    return ListPage(found[query.start : end], end if end < len(found) else None)


def _sort(documents: list[Json], order_by: str, fields: Sequence[str]) -> list[Json]:
    match = _ORDER.fullmatch(order_by)
    if match is None:
        return documents
    direction, names = match.groups()
    # Sorting is stable, so the least significant name is sorted by first.
    for name in reversed(names.split(",")):
        path = name.strip().lstrip("+-")
        _check_field(path, fields, problems.ORDER_FIELD)
        descending = direction == "desc" or name.strip().startswith("-")
        documents = sorted(documents, key=partial(_rank, path), reverse=descending)
    return documents


def _rank(path: str, document: Json) -> str | int:
    value = document[path]
    return value if isinstance(value, int) else str(value).lower()


def _check_field(path: str, fields: Sequence[str], code: problems.Code) -> None:
    if path not in fields:
        raise Problem(code, f"The field {path[:100]} is unknown. Allowed: {', '.join(fields)}.")


def _number(path: str, text: str | None, default: int, least: int) -> int:
    digits = (text or str(default)).strip()
    if not digits.isascii() or not digits.isdecimal() or int(digits[:10]) < least:
        raise problems.of_field(path, f"must be a whole number, {least} or more")
    return int(digits[:10])
