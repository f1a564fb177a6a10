"""API clients, next to roles (an extension)."""

from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import Field

from offtake.access import clients
from offtake.access.clients import Registration
from offtake.api.dependencies import BackendOf, MemberBody, MemberOf
from offtake.api.in_memory_lists import ShortListOf, links
from offtake.api.openapi import extension_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import Op
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body
from offtake.contract.caller import MANAGE_ACCESS, Kind
from offtake.contract.in_memory_lists import select_page
from offtake.contract.problems import Problem
from offtake.deployment import admin_file
from offtake.documents import Json

_DEFAULT_LIMIT: Final = 20
_FIELDS: Final = ("id", "name", "kind", "accountId")
_PATH: Final = "/administration/clients"
_ROTATE: Final = "rotate"
_SECRET: Final = {"Cache-Control": "no-store"}

router = APIRouter(tags=["access control"], prefix="/administration")


class NewClientBody(Body):
    """`POST /administration/clients`. An `external` client has no secret; `id` is its id at the issuer."""

    name: str
    kind: Kind = "user"
    roles: Annotated[list[str], Field(default_factory=list, max_length=100)]
    id: str | None = None
    external: bool = False


@router.get("/clients", **document_operation(examples.CLIENTS))
def list_clients(member: MemberOf, backend: BackendOf, params: ShortListOf) -> Json:
    """List the organisation's clients with the names of their roles (an extension)."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        found = [{**clients.render(row), "roles": names} for row, names in clients.all_of(session, member)]
    here = select_page(found, query, _FIELDS)
    page = {"start": query.start, "limit": query.limit, "count": len(here.items)}
    shown = {"self": {"href": _PATH, "templated": False}} | links(_PATH, query, here, "start")
    return {"items": here.items, "_page": page, "_links": shown}


@router.post(
    "/clients",
    status_code=201,
    **document_operation(
        examples.CLIENT_MADE, status=201, body=NewClientBody, body_example=examples.NEW_CLIENT, errors=(409,)
    ),
)
def create_client(member: MemberOf, backend: BackendOf, body: MemberBody, response: Response) -> Json:
    """Create a client with roles; only this response has its secret (an extension)."""
    new = bodies.parse_body(NewClientBody, body)
    if new.external and new.id is None:
        raise problems.of_field(
            "/id", "is required with external: the client's id in the issuer's tokens", missing=True
        )
    wanted = Registration(new.name, new.kind, tuple(new.roles), new.id, new.external)
    with backend.database.writing() as session:
        row, secret = clients.register(session, member, wanted, backend.clock.now_ms())
        shown = {**clients.render(row), "roles": clients.role_names(session, row), "imsOrgID": row.org_id}
    response.headers.update(_SECRET)
    return shown | ({"clientSecret": secret} if secret else {})


@router.post("/clients/{client_id}/action", **document_operation(examples.CLIENT_SECRET))
def act(member: MemberOf, backend: BackendOf, client_id: str, response: Response, op: Op = None) -> Json:
    """Replace a client's secret (`op=rotate`); only this response has the new one (an extension)."""
    member.require_everywhere(MANAGE_ACCESS)
    if (op or "").lower() != _ROTATE:
        raise Problem(problems.UNKNOWN_ACTION, f"The action {(op or '')[:100]} is unknown. Allowed: {_ROTATE}.")
    with backend.database.writing() as session:
        secret = clients.rotate(session, member, client_id, backend.clock.now_ms())
    admin_file.follow_rotation(backend.settings, client_id, secret)
    response.headers.update(_SECRET)
    return {"id": client_id, "clientSecret": secret}


@router.delete("/clients/{client_id}", status_code=204, **document_operation())
def revoke_client(member: MemberOf, backend: BackendOf, client_id: str) -> Response:
    """Revoke a client and all of its tokens permanently (an extension)."""
    with backend.database.writing() as session:
        clients.revoke(session, member, client_id, backend.clock.now_ms())
    return Response(status_code=204)
