"""How single entities are answered: in the `items` wrapper, with an ETag header too (contract, 5.2 and 5.6)."""

from typing import Annotated, Any

from fastapi import Header, Query, Response

from offtake.flows import entities
from offtake.store.tables.base import Stamp

Json = dict[str, Any]

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The etag that was read, with its quotes; * for any.")
]
Op = Annotated[str | None, Query(description="The action; letter case means nothing.")]
SubOp = Annotated[str | None, Query(alias="subOp", description="Not used by the actions of flows and runs.")]


def one(response: Response, item: Json) -> Json:
    """The answer to reading one entity."""
    response.headers["etag"] = item["etag"]
    return {"items": [item]}


def changed(response: Response, row: Stamp) -> Json:
    """The answer to making or changing one entity."""
    response.headers["etag"] = entities.etag(row)
    return entities.changed(row)


def deleted() -> Response:
    """The answer to deleting one entity: no body (contract, section 30, row 3)."""
    return Response(status_code=202)
