"""List parameters and the list envelope (contract, section 5.3)."""

from typing import Annotated, Any

from fastapi import Query

from offtake.flows.listing import MOST, ListQuery, Page, list_query

Limit = Annotated[str | None, Query()]
Property = Annotated[list[str] | None, Query()]
Token = Annotated[str | None, Query(alias="continuationToken")]


def query_of(
    limit: str | None, properties: list[str] | None, token: str | None, default_limit: int = MOST
) -> ListQuery:
    """The list query the parameters mean; empty parameters equal absent ones."""
    return list_query(limit, properties or [], token, default_limit)


def envelope(path: str, page: Page[Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """One page as every list answers it; `path` is relative to the service's base path."""
    links = {"next": {"href": f"{path}?continuationToken={page.token}"}} if page.token else {}
    return {"items": items, "_links": links, "count": len(items)}
