"""Lists that are short enough to be held whole: sandboxes and roles (contract, sections 26 and 27)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from offtake.contract import filters, problems
from offtake.contract.problems import Problem

Json = dict[str, Any]

MOST: Final = 1000
_ORDER: Final = re.compile(r"\s*(?:(asc|desc)\s*:)?\s*(.+?)\s*", re.DOTALL)


@dataclass(frozen=True)
class ShortQuery:
    """What a caller asked of a short list: `start` is the place of the first document to return."""

    limit: int
    start: int = 0
    properties: tuple[str, ...] = ()
    order_by: str = ""


@dataclass(frozen=True)
class ListPage:
    """One page; `following` is the place where the next one starts, None on the last."""

    items: list[Json]
    following: int | None


def short_query(
    limit: str | None, start: str | None, properties: Sequence[str], order_by: str | None, default_limit: int
) -> ShortQuery:
    """The query that the parameters mean; empty ones equal absent ones. Raises 1452."""
    return ShortQuery(
        limit=min(_number("/limit", limit, default_limit, least=1), MOST),
        start=_number("/start", start, 0, least=0),
        properties=tuple(one.strip() for one in properties if filters.is_filter(one)),
        order_by=(order_by or "").strip(),
    )


def select_page(documents: Sequence[Json], query: ShortQuery, fields: Sequence[str]) -> ListPage:
    """The page asked for, of the documents that meet every property; `fields` can be filtered and ordered by.

    Without an order the documents stay in theirs. Raises 1433, 1449 and what filters raise.
    """
    wanted = filters.parse_all(query.properties)
    for one in wanted:
        _check_field(one.path, fields, problems.FILTER_FIELD)
        if one.operator not in ("==", "!="):
            raise Problem(problems.FILTER_KIND, f"{one.path} can be compared by == and != only.")
    found = _ordered([one for one in documents if filters.matches_document(wanted, one)], query.order_by, fields)
    end = query.start + query.limit
    return ListPage(found[query.start : end], end if end < len(found) else None)


def _ordered(documents: list[Json], order_by: str, fields: Sequence[str]) -> list[Json]:
    match = _ORDER.fullmatch(order_by)
    if match is None:
        return documents
    direction, names = match.groups()
    # Sorting keeps the order of equals: the last name counts least, so it is sorted by first.
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
        raise Problem(code, f"There is no field {path[:100]} here. Allowed: {', '.join(fields)}.")


def _number(path: str, text: str | None, default: int, least: int) -> int:
    digits = (text or str(default)).strip()
    if not digits.isascii() or not digits.isdecimal() or int(digits[:10]) < least:
        raise problems.of_field(path, f"must be a whole number, {least} or more")
    return int(digits[:10])
