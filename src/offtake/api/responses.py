"""How single entities are answered: in the `items` wrapper, with an ETag header too (contract, 5.2 and 5.6)."""

from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response

from offtake.contract import entities, problems
from offtake.store.tables.base import Stamp

Json = dict[str, Any]


def read_if_match(
    request: Request,
    header: Annotated[
        str | None, Header(alias="If-Match", description="The etag that was read, with its quotes; * for any.")
    ] = None,
    query: Annotated[
        str | None, Query(alias="if-match", description="The same, for clients that send it in the query.")
    ] = None,
) -> str | None:
    """The version that the request names, in the header or in the query; raises 1452 when it names several."""
    in_query = [value for name, value in request.query_params.multi_items() if name.lower() == "if-match"]
    given = [value for value in (header, query, *in_query) if value and value.strip()]
    if len({frozenset(entities.parse_versions(value)) for value in given}) > 1:
        raise problems.of_field(
            "/if-match", "names another version in the query than in the header; send one of them, or the same twice"
        )
    return given[0] if given else None


IfMatch = Annotated[str | None, Depends(read_if_match)]
Op = Annotated[str | None, Query(description="The action; letter case means nothing.")]
SubOp = Annotated[str | None, Query(alias="subOp", description="Not used by the actions of flows and runs.")]


def one(response: Response, item: Json) -> Json:
    """The answer to reading one entity."""
    response.headers["etag"] = item["etag"]
    return {"items": [item]}


def update_response(response: Response, row: Stamp) -> Json:
    """The answer to making or changing one entity."""
    response.headers["etag"] = entities.etag(row)
    return entities.update_response(row)


def deletion_response() -> Response:
    """The answer to deleting one entity: no body (contract, section 30, row 3)."""
    return Response(status_code=202)
