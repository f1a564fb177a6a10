"""Responses about single entities: the `items` wrapper and the ETag header (contract, 5.2 and 5.6)."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request, Response

from offtake.contract import entities, problems
from offtake.documents import Json
from offtake.store.tables.base import Stamp


def read_if_match(
    request: Request,
    header: Annotated[
        str | None, Header(alias="If-Match", description="The etag that was read, with its quotes; * matches any.")
    ] = None,
    query: Annotated[str | None, Query(alias="if-match", description="Same as the header If-Match.")] = None,
) -> str | None:
    """The etag in the `If-Match` header or query parameter; raises 1452 if they differ."""
    in_query = [value for name, value in request.query_params.multi_items() if name.lower() == "if-match"]
    sent = [value for value in (header, query, *in_query) if value and value.strip()]
    if len({frozenset(entities.parse_versions(value)) for value in sent}) > 1:
        raise problems.of_field("/if-match", "differs between the query and the header; send only one of them")
    return sent[0] if sent else None


IfMatch = Annotated[str | None, Depends(read_if_match)]
Op = Annotated[str | None, Query(description="The action, in any letter case.")]
SubOp = Annotated[str | None, Query(alias="subOp", description="Ignored for flows and runs.")]


def one(response: Response, item: Json) -> Json:
    """The response to reading one entity."""
    response.headers["etag"] = item["etag"]
    return {"items": [item]}


def update_response(response: Response, row: Stamp) -> Json:
    """The response to creating or changing one entity."""
    response.headers["etag"] = entities.etag(row)
    return entities.update_response(row)


def deletion_response() -> Response:
    """The response to deleting one entity: no body (contract, section 30, row 3)."""
    return Response(status_code=202)
