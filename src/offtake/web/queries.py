"""The state of a list in its URL: reads it, and makes the URLs of its other states."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Request

_ChoiceT = TypeVar("_ChoiceT", bound=str)
_LONGEST: Final = 200
_DIGITS: Final = 9


class ListUrl:
    """The query of a list's URL. Unknown values count as absent, so that an old link still shows a list."""

    def __init__(self, request: Request) -> None:
        self._path = request.url.path
        self._query = dict(request.query_params)

    def text(self, name: str) -> str:
        """A text, at most 200 characters."""
        return self._query.get(name, "").strip()[:_LONGEST]

    def choice(self, name: str, allowed: Sequence[_ChoiceT]) -> _ChoiceT | None:
        """One of the allowed values; None for others."""
        return next((one for one in allowed if one == self._query.get(name)), None)

    def number(self, name: str) -> int:
        """A number from zero."""
        sent = self._query.get(name, "")
        return int(sent[:_DIGITS]) if sent.isascii() and sent.isdecimal() else 0

    def with_(self, **changes: Any) -> str:  # noqa: ANN401 - values of a query
        """The URL of the same list with other values; empty values are left out, and the first page is shown."""
        changed = {key: value for key, value in self._query.items() if key != "from"} | changes
        kept = {key: str(value)[:_LONGEST] for key, value in changed.items() if value not in ("", None, 0)}
        return f"{self._path}?{urlencode(kept)}" if kept else self._path

    def pages(self, found: Sequence[object], most: int) -> tuple[str, str]:
        """The URLs of the first and of the next page; empty where there is none. `found`: with one row of the next."""
        start = self.number("from")
        following = self.with_(**{"from": start + most}) if len(found) > most else ""
        return self.with_() if start else "", following

    def sorted_by(
        self, label: str, key: str, current: tuple[str, bool], kind: str = "", *, first: str = "asc"
    ) -> dict[str, str]:
        """A column of the table component that sorts by `key`; `current`: the present key, and whether descending."""
        by, descending = current
        turned = ("asc" if descending else "desc") if by == key else first
        column = {"label": label, "kind": kind, "sort": self.with_(sort=key, order=turned)}
        return column | ({"sorted": "descending" if descending else "ascending"} if by == key else {})
