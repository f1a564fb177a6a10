"""The audit log: who changed what, when, and from where."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from offtake.api.describing import admin_examples as examples
from offtake.api.describing.operations import described
from offtake.api.gateway import BackendOf, CallerOf
from offtake.flows import audit_log
from offtake.flows.access import VIEW_AUDIT
from offtake.flows.audit_log import AuditQuery, Text

Json = dict[str, Any]

router = APIRouter(tags=["audit log"])


_EVENTS: Final = {"type": "object", "properties": {"items": {"type": "array"}, "count": {"type": "integer"}}}


class AuditParams(BaseModel):
    """What to look for; what is left out or empty means any."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    limit: str | None = Field(default=None, description="1 to 1000 events a page; 100 when left out.", examples=["100"])
    resource_type: Text | None = Field(default=None, examples=["flows"])
    resource_id: Text | None = None
    action: Text | None = Field(default=None, examples=["update"])
    client_id: Text | None = None
    sandbox: Text | None = Field(default=None, description="Another one than the request's needs access to all.")
    since: str | None = Field(default=None, description="Epoch milliseconds, or a date such as 2026-03-01T12:00:00Z.")
    until: str | None = Field(default=None, description="The same; events at this instant are left out.")
    continuation_token: str | None = Field(default=None, description="From the link to the next page; wins.")

    def query(self) -> AuditQuery:
        """The query they mean."""
        if self.continuation_token:
            return audit_log.read_token(self.continuation_token)
        return AuditQuery(
            limit=audit_log.limit(self.limit),
            resource_type=self.resource_type or None,
            resource_id=self.resource_id or None,
            action=self.action or None,
            client_id=self.client_id or None,
            sandbox=self.sandbox or None,
            since=audit_log.instant("/since", self.since),
            until=audit_log.instant("/until", self.until),
        )


@router.get("/events", **described(examples.EVENTS, schema=_EVENTS))
def list_events(caller: CallerOf, backend: BackendOf, params: Annotated[AuditParams, Query()]) -> Json:
    """Changes in this sandbox, or for those who may read the log everywhere, in the whole organisation."""
    caller.require(VIEW_AUDIT)
    query = params.query()
    with backend.database.reading() as session:
        rows, more = audit_log.events(session, caller, query)
    token = audit_log.token(query, rows[-1].id) if more else None
    links = {"next": {"href": f"/events?continuationToken={token}"}} if token else {}
    return {"items": [audit_log.render(row) for row in rows], "_links": links, "count": len(rows)}
