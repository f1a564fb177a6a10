"""Extensions: usage by month, and monthly quotas of a sandbox."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.in_memory_lists import ShortListOf
from offtake.api.openapi import usage_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.documents import Json
from offtake.usage import quotas, reports

_DEFAULT_LIMIT: Final = 100

router = APIRouter(tags=["usage"])

Month = Annotated[
    str | None,
    Query(description="A calendar month in UTC; default: this one, or by month, all.", examples=["2026-03"]),
]
By = Annotated[
    str | None,
    Query(description="What to add up by: dataset, destination, flow, month, or several, separated by commas."),
]
Measure = Annotated[str, Path(description="rows, bytes, files or computeSeconds.", examples=["rows"])]


@router.get("/usage", **document_operation(examples.USAGE))
def get_usage(caller: CallerOf, backend: BackendOf, params: ShortListOf, month: Month = None, by: By = None) -> Json:
    """Get what the sandbox's runs delivered and the CPU time that they took, by calendar month (an extension)."""
    query = params.query(_DEFAULT_LIMIT)
    chosen, dimensions = reports.parse(month, by)
    with backend.database.reading() as session:
        found = reports.report(session, caller, backend.clock.now_ms(), chosen, dimensions)
    end = query.start + query.limit
    links = {}
    if end < len(found.lines):
        given = {"limit": query.limit, "start": end, "by": ",".join(found.by)}
        given |= {"month": found.month} if found.month else {}
        links = {"next": {"href": f"/usage?{urlencode(given)}"}}
    return {
        "month": found.month,
        "by": list(found.by),
        "items": [one.to_json() for one in found.lines[query.start : end]],
        "total": found.total.to_json(),
        "_links": links,
        "totalCount": len(found.lines),
    }


@router.get("/quotas", **document_operation(examples.QUOTAS))
def list_quotas(caller: CallerOf, backend: BackendOf) -> Json:
    """List the sandbox's monthly quotas, and how many runs they hold (an extension)."""
    with backend.database.reading() as session:
        found = quotas.list_quotas(session, caller, backend.clock.now_ms())
        return {"items": [one.to_json() for one in found], "heldRunCount": quotas.count_held(session, caller)}


@router.put(
    "/quotas/{measure}",
    **document_operation(examples.SET, body=quotas.NewQuota, body_example=examples.NEW_QUOTA),
)
def set_quota(caller: CallerOf, backend: BackendOf, measure: Measure, body: JsonBody) -> Json:
    """Set a monthly quota; runs that have started continue, new ones wait while it is reached (an extension)."""
    with backend.database.writing() as session:
        found = quotas.set_quota(session, caller, measure, body, backend.clock.now_ms())
        answer = found.to_json() | {"heldRunCount": quotas.count_held(session, caller)}
    backend.database.wakeup.notify()
    return answer


@router.delete("/quotas/{measure}", **document_operation(examples.REMOVED))
def remove_quota(caller: CallerOf, backend: BackendOf, measure: Measure) -> Json:
    """Remove a monthly quota; the runs that it held start (an extension)."""
    with backend.database.writing() as session:
        quotas.remove(session, caller, measure, backend.clock.now_ms())
        answer = {"measure": measure, "heldRunCount": quotas.count_held(session, caller)}
    backend.database.wakeup.notify()
    return answer
