"""List parameters, search bodies and the list envelope (contract, sections 5.3 to 5.5 and 11)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from pydantic import Field

from offtake.contract import bodies, listing, problems
from offtake.contract.bodies import Body
from offtake.contract.listing import ListQuery, Page
from offtake.contract.problems import Problem
from offtake.documents import Json

Token = Annotated[
    str | None, Query(alias="continuationToken", description="From the link to the next page; overrides the others.")
]


@dataclass(frozen=True)
class ListParams:
    """The parameters of a list, as sent; empty ones count as absent."""

    limit: str | None
    properties: list[str]
    order_by: str | None
    count: str | None
    token: str | None

    def query(self, default_limit: int = listing.MOST) -> ListQuery:
        """Parse and check the parameters."""
        return listing.list_query(
            self.limit,
            self.properties,
            self.token,
            order_by=self.order_by,
            count=self.count,
            default_limit=default_limit,
        )


def list_params(
    request: Request,
    limit: Annotated[str | None, Query(description="Entities per page, 1 to 100.", examples=["20"])] = None,
    property: Annotated[  # noqa: A002 - the contract's name
        list[str] | None,
        Query(
            description="A filter such as name==A; repeatable, all must match. Operators: ==, !=, and for "
            "numbers and times <, <=, >, >=. The error for an unknown field lists the allowed ones. Without an "
            "operator: the properties to return."
        ),
    ] = None,
    orderby: Annotated[str | None, Query(description="name, +name or -name; comma-separated.")] = None,
    count: Annotated[str | None, Query(description="true: return only the count.")] = None,
    token: Token = None,
) -> ListParams:
    """The list parameters of a request; raises 1451 for any other."""
    unknown = sorted(set(request.query_params) - _PARAMETERS)
    if unknown:
        allowed = ", ".join(sorted(_PARAMETERS))
        raise Problem(
            problems.UNKNOWN_PARAMETER, f"Unknown query parameter: {', '.join(unknown)[:200]}. Allowed: {allowed}."
        )
    return ListParams(limit, property or [], orderby, count, token)


_PARAMETERS = {"limit", "property", "orderby", "count", "continuationToken"}
ListOf = Annotated[ListParams, Depends(list_params)]


class SearchBody(Body):
    """The body of `POST /…/search`; `queryString` holds filters as in `property`, joined by `&`."""

    query_string: str = ""
    limit: int | str | None = None
    orderby: str | None = None
    count: bool | str = False
    projection_fields: str = Field(default="", description="Properties to return, comma-separated.")


SEARCH_EXAMPLE: Final[Json] = {"queryString": "state==enabled&name==A,B", "limit": 50, "orderby": "-updatedAt"}


def search_query(sent: bytes, token: str | None) -> ListQuery:
    """Parse and check a search body. A page may be ten times as long as a list's."""
    body = bodies.parse_body(SearchBody, sent)
    properties = [*body.query_string.split("&"), body.projection_fields]
    limit = None if body.limit is None else str(body.limit)
    return listing.list_query(
        limit, properties, token, order_by=body.orderby, count=str(body.count), most=listing.MOST_SEARCHED
    )


def answer(path: str, query: ListQuery, page: Page[Any], render: Callable[[list[Any]], list[Json]]) -> Json:
    """Render one page of a list, or the count of all rows; `path` is relative to the service's base path."""
    if page.total is not None:
        return {"count": page.total}
    links = {"next": {"href": f"{path}?continuationToken={page.token}"}} if page.token else {}
    items = [_project(item, query.projection) for item in render(page.rows)]
    return {"items": items, "_links": links, "count": len(items)}


def _project(item: Json, keys: frozenset[str]) -> Json:
    return {key: value for key, value in item.items() if key in keys} if keys else item
