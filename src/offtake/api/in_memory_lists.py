"""Parameters of short lists, and the links between their pages (contract, sections 26 and 27)."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query

from offtake.contract import in_memory_lists
from offtake.contract.in_memory_lists import ListPage, ShortQuery
from offtake.documents import Json


@dataclass(frozen=True)
class ShortParams:
    """The parameters as sent."""

    limit: str | None
    start: str | None
    properties: list[str]
    order_by: str | None

    def query(self, default_limit: int) -> ShortQuery:
        """Parse and check the parameters."""
        return in_memory_lists.short_query(self.limit, self.start, self.properties, self.order_by, default_limit)


def short_params(
    limit: Annotated[str | None, Query(description="Items per page.", examples=["20"])] = None,
    start: Annotated[str | None, Query(description="Index of the first item, from 0.")] = None,
    offset: Annotated[str | None, Query(description="Same as start.")] = None,
    property: Annotated[  # noqa: A002 - the contract's name
        list[str] | None, Query(description="A filter such as name==A; repeatable, all must match.")
    ] = None,
    order_by: Annotated[str | None, Query(alias="orderBy", description="name, -name, asc:name or desc:name.")] = None,
) -> ShortParams:
    """The parameters of a short list."""
    return ShortParams(limit, start or offset, property or [], order_by)


ShortListOf = Annotated[ShortParams, Depends(short_params)]


def links(path: str, query: ShortQuery, page: ListPage, start_name: str) -> Json:
    """Links to this list and to its next page; `start_name` is the service's parameter for the first item's index."""
    template = f"{path}?limit={{limit}}&{start_name}={{{start_name}}}&orderBy={{orderBy}}&property={{property}}"
    found: Json = {"page": {"href": template, "templated": True}}
    if page.following is not None:
        parameters: list[tuple[str, object]] = [("limit", query.limit), (start_name, page.following)]
        parameters += [("orderBy", query.order_by)] if query.order_by else []
        parameters += [("property", one) for one in query.properties]
        found["next"] = {"href": f"{path}?{urlencode(parameters)}", "templated": False}
    return found
