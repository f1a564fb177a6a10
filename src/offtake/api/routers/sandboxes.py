"""Sandboxes (contract, section 26)."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request

from offtake.api.dependencies import BackendOf, MemberBody, MemberOf
from offtake.api.error_types import SANDBOXES
from offtake.api.in_memory_lists import ShortListOf, links
from offtake.api.openapi import admin_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.contract import problems
from offtake.contract.in_memory_lists import ShortQuery, select_page
from offtake.documents import Json
from offtake.sandboxes import sandboxes
from offtake.sandboxes.sandboxes import FIELDS, TYPES
from offtake.store.sandbox_states import ACTIVE

_DEFAULT_LIMIT: Final = 200

router = APIRouter(tags=["sandboxes"])

Ignored = Annotated[
    str | None, Query(alias="ignoreWarnings", description="Accepted and ignored: warnings never block this.")
]
Dry = Annotated[str | None, Query(alias="validationOnly", description="true: only check, change nothing.")]


@router.get("", **document_operation(examples.SANDBOXES))
def usable(request: Request, member: MemberOf, backend: BackendOf, params: ShortListOf) -> Json:
    """List the active sandboxes in which the caller has a role."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        found = [sandboxes.render(row) for row in sandboxes.visible(session, member) if row.state == ACTIVE]
    return _answer(request, f"{SANDBOXES}/", query, found)


@router.get("/sandboxTypes", **document_operation(examples.SANDBOX_TYPES))
def types(_member: MemberOf) -> Json:
    """List the types of sandboxes."""
    return {"sandboxTypes": list(TYPES)}


@router.get("/sandboxes", **document_operation(examples.SANDBOXES))
def list_all(request: Request, member: MemberOf, backend: BackendOf, params: ShortListOf) -> Json:
    """List the sandboxes in which the caller has a role, in any state."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        found = [sandboxes.render(row) for row in sandboxes.visible(session, member)]
    return _answer(request, f"{SANDBOXES}/sandboxes", query, found)


@router.post(
    "/sandboxes",
    status_code=202,
    **document_operation(
        examples.SANDBOX, status=202, body=sandboxes.NewSandbox, body_example=examples.NEW_SANDBOX, errors=(409,)
    ),
)
def create(member: MemberOf, backend: BackendOf, body: MemberBody) -> Json:
    """Create a sandbox."""
    with backend.database.writing() as session:
        return sandboxes.render(sandboxes.create(session, member, body, backend.clock.now_ms()))


@router.get("/sandboxes/{name}", **document_operation(examples.SANDBOX))
def get(member: MemberOf, backend: BackendOf, name: str) -> Json:
    """Get a sandbox."""
    with backend.database.reading() as session:
        return sandboxes.render(sandboxes.find(session, member, name)[0])


@router.patch(
    "/sandboxes/{name}",
    **document_operation(examples.SANDBOX, body=sandboxes.TitleChange, body_example={"title": "Development"}),
)
def rename(member: MemberOf, backend: BackendOf, body: MemberBody, name: str) -> Json:
    """Change the title of a sandbox."""
    with backend.database.writing() as session:
        return sandboxes.render(sandboxes.rename(session, member, name, body, backend.clock.now_ms()))


@router.put(
    "/sandboxes/{name}",
    status_code=202,
    **document_operation(examples.SANDBOX, status=202, body=sandboxes.SandboxAction, body_example={"action": "reset"}),
)
def reset(
    member: MemberOf, backend: BackendOf, body: MemberBody, name: str, dry: Dry = None, ignored: Ignored = None
) -> Json:
    """Reset a sandbox: removes all of its content; it is active again afterwards."""
    validate_only = _flag("/validationOnly", dry)
    _flag("/ignoreWarnings", ignored)
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        row = sandboxes.reset(session, member, name, body, now, validate_only=validate_only)
        return sandboxes.render(row) | ({"warnings": sandboxes.removal_warnings(session, row)} if validate_only else {})


@router.delete("/sandboxes/{name}", status_code=202, **document_operation(examples.SANDBOX, status=202))
def delete(member: MemberOf, backend: BackendOf, name: str, dry: Dry = None, ignored: Ignored = None) -> Json:
    """Delete a sandbox with all of its content; its name can be reused afterwards."""
    validate_only = _flag("/validationOnly", dry)
    _flag("/ignoreWarnings", ignored)
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        row = sandboxes.remove(session, member, name, now, validate_only=validate_only)
        return sandboxes.render(row) | ({"warnings": sandboxes.removal_warnings(session, row)} if validate_only else {})


def _answer(request: Request, path: str, query: ShortQuery, found: list[Json]) -> Json:
    found_here = select_page(found, query, FIELDS)
    origin = str(request.base_url).rstrip("/")
    return {
        "sandboxes": found_here.items,
        "_page": {"limit": query.limit, "count": len(found_here.items)},
        "_links": links(f"{origin}{path}", query, found_here, "offset"),
    }


def _flag(path: str, text: str | None) -> bool:
    value = (text or "false").strip().lower()
    if value not in ("true", "false"):
        raise problems.of_field(path, "must be true or false")
    return value == "true"
