"""The audit log in the vendor's format: who changed what, when, from which address (contract, revision V9)."""

import math
from collections.abc import Set
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from offtake.access import audit_events, audit_export, audit_log
from offtake.access.audit_log import AuditPage, AuditQuery
from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.error_types import AUDIT, AUDIT_FILE
from offtake.api.openapi import admin_examples as examples
from offtake.api.openapi.operations import document_operation, schema_of
from offtake.contract import problems
from offtake.contract.caller import VIEW_AUDIT
from offtake.contract.problems import Problem
from offtake.documents import Json

router = APIRouter(tags=["audit log"])

_CSV: Final = "text/csv"
_FILE: Final = {"Content-Disposition": 'attachment; filename="audit-events.csv"', "Cache-Control": "no-store"}
_EXPORTED: Final[dict[str, Any]] = {
    "responses": document_operation()["responses"]
    | {204: {"description": "No event matches."}, 307: {"description": "A link to the CSV file; valid for 15 minutes."}}
}


def _schema() -> Json:
    """The schema of a page of events; `before` is null for a creation, `after` for a deletion."""
    schema = schema_of(examples.EVENTS)
    event = schema["properties"]["_embedded"]["properties"]["events"]["items"]["properties"]
    event |= {key: {"type": ["object", "null"]} for key in ("before", "after")}
    return schema


Limit = Annotated[str | None, Query(description="Events per page, 1 to 1000; default 50.", examples=["50"])]
Start = Annotated[str | None, Query(description="How many events to skip.", examples=["0"])]
QueryId = Annotated[str | None, Query(alias="queryId", description="From an earlier response; overrides the filters.")]


def query_of(
    property: Annotated[  # noqa: A002 - the vendor's name
        list[str] | None,
        Query(
            description="A filter such as action==create,update; repeatable, all must match.", examples=["type==core"]
        ),
    ] = None,
    order_by: Annotated[
        str | None, Query(alias="orderBy", description="timestamp, +timestamp or -timestamp; comma-separated.")
    ] = None,
    query_id: QueryId = None,
) -> AuditQuery:
    """Parse the parameters of a query."""
    return audit_log.read_query_id(query_id) if query_id else audit_log.new_query(property or [], order_by)


_FILTERS: Final = frozenset(("property", "orderBy", "queryId"))
QueryOf = Annotated[AuditQuery, Depends(query_of)]


@router.get("/events", **document_operation(examples.EVENTS, schema=_schema()))
def list_events(
    caller: CallerOf, backend: BackendOf, request: Request, query: QueryOf, limit: Limit = None, start: Start = None
) -> Json:
    """List audit events of this sandbox; with access to every sandbox, those of the organisation."""
    caller.require(VIEW_AUDIT)
    _refuse_others(request, {*_FILTERS, "limit", "start"})
    most, first = audit_log.limit(limit), audit_log.start(start)
    with backend.database.reading() as session:
        page = audit_log.page(session, caller, query, first, most)
    return {
        "_embedded": {"events": [audit_events.render(row) for row in page.rows]},
        "_links": _links(request, page, first, most),
        "page": {
            "size": len(page.rows),
            "totalElements": page.total,
            "totalPages": math.ceil(page.total / most),
            "number": first // most + 1,
        },
        "queryId": page.query.query_id(),
    }


@router.get("/export", response_class=Response, status_code=307, **_EXPORTED)
def export_events(caller: CallerOf, backend: BackendOf, request: Request, query: QueryOf) -> Response:
    """Export audit events: redirects to a CSV file of the first 10,000."""
    caller.require(VIEW_AUDIT)
    _refuse_others(request, _FILTERS)
    with backend.database.reading() as session:
        secret = audit_export.seal_link(session, backend.vault, caller, query, backend.clock.now_ms())
    if secret is None:
        return Response(status_code=204)
    return Response(status_code=307, headers={"Location": f"{_base(request)}{AUDIT_FILE}?{urlencode({'sig': secret})}"})


@router.get("/files/export.csv", response_class=Response, **document_operation(also={200: _CSV}))
def get_export(
    backend: BackendOf, sig: Annotated[str, Query(description="The signature in the link of the export.")] = ""
) -> Response:
    """Download exported audit events; the link needs no token."""
    with backend.database.reading() as session:
        text = audit_export.csv_file(session, backend.vault, sig, backend.clock.now_ms())
    return Response(text, media_type=_CSV, headers=_FILE)


def _refuse_others(request: Request, known: Set[str]) -> None:
    """Raise 1451 for an unknown query parameter."""
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        allowed = ", ".join(sorted(known))
        raise Problem(
            problems.UNKNOWN_PARAMETER, f"Unknown query parameter: {', '.join(unknown)[:200]}. Allowed: {allowed}."
        )


def _links(request: Request, page: AuditPage, start: int, limit: int) -> Json:
    here = f"{_base(request)}{AUDIT}/events"
    sent = urlencode(request.query_params.multi_items(), quote_via=quote)
    same = f"{here}?{urlencode({'queryId': page.query.query_id()})}"
    links: Json = {"self": {"href": f"{here}?{sent}" if sent else here}}
    if start + limit < page.total:
        links["next"] = {"href": f"{same}&start={start + limit}&limit={limit}"}
    return links | {"page": {"href": f"{same}&limit={limit}{{&start}}", "templated": True}}


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
