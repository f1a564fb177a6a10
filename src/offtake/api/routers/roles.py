"""Roles, their subjects, and the permissions that they consist of (contract, section 27).

There are no policies: labels on roles are the only attributes that access control uses.
"""

from typing import Final

from fastapi import APIRouter, Request, Response

from offtake import __version__
from offtake.access import permissions, role_patches, roles
from offtake.access.roles import FIELDS
from offtake.api.dependencies import BackendOf, MemberBody, MemberOf
from offtake.api.in_memory_lists import ShortListOf, links
from offtake.api.openapi import admin_examples as examples
from offtake.api.openapi.operations import document_operation, model_schema
from offtake.contract import problems
from offtake.contract.caller import MANAGE_ACCESS
from offtake.contract.in_memory_lists import ShortQuery, select_page
from offtake.documents import Json

_DEFAULT_LIMIT: Final = 20
_PRODUCT: Final = {"id": "offtake", "name": "Offtake", "serviceCode": "offtake", "version": __version__}
_PATCH: Final = model_schema(role_patches.Operation)
_SUBJECT_FIELDS: Final = ("subjectId", "subjectType", "clientId", "name")

router = APIRouter(tags=["access control"], prefix="/administration")


@router.get("/roles", **document_operation(examples.ROLES))
def list_roles(member: MemberOf, backend: BackendOf, params: ShortListOf) -> Json:
    """List the organisation's roles."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        found = [roles.render(row) for row in roles.all_of(session, member)]
    return _answer("/administration/roles", query, found, FIELDS)


@router.post(
    "/roles", **document_operation(examples.ROLE, body=roles.NewRole, body_example=examples.NEW_ROLE, errors=(409,))
)
def create_role(member: MemberOf, backend: BackendOf, body: MemberBody) -> Json:
    """Create a role; the body may also set its permissions and sandboxes."""
    with backend.database.writing() as session:
        return roles.render(roles.create(session, member, body, backend.clock.now_ms()))


@router.get("/roles/{role_id}", **document_operation(examples.ROLE))
def get_role(member: MemberOf, backend: BackendOf, role_id: str) -> Json:
    """Get a role."""
    with backend.database.reading() as session:
        return roles.render(roles.find(session, member, role_id))


@router.put(
    "/roles/{role_id}",
    **document_operation(examples.ROLE, body=roles.ChangedRole, body_example=examples.NEW_ROLE, errors=(409,)),
)
def replace_role(member: MemberOf, backend: BackendOf, body: MemberBody, role_id: str) -> Json:
    """Replace a role's name, description and other fields of the body."""
    with backend.database.writing() as session:
        return roles.render(roles.replace(session, member, role_id, body, backend.clock.now_ms()))


@router.patch(
    "/roles/{role_id}",
    **document_operation(examples.ROLE, body=_PATCH, body_example=examples.ROLE_PATCH, errors=(409,)),
)
def patch_role(member: MemberOf, backend: BackendOf, body: MemberBody, role_id: str) -> Json:
    """Update a role by one JSON Patch operation."""
    with backend.database.writing() as session:
        return roles.render(role_patches.patch(session, member, role_id, body, backend.clock.now_ms()))


@router.delete("/roles/{role_id}", status_code=204, **document_operation())
def delete_role(member: MemberOf, backend: BackendOf, role_id: str) -> Response:
    """Delete a role; its subjects lose what it grants."""
    with backend.database.writing() as session:
        roles.remove(session, member, role_id, backend.clock.now_ms())
    return Response(status_code=204)


@router.get("/roles/{role_id}/subjects", **document_operation(examples.SUBJECTS))
def subjects(request: Request, member: MemberOf, backend: BackendOf, params: ShortListOf, role_id: str) -> Json:
    """List a role's subjects."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        found = role_patches.subjects(session, roles.find(session, member, role_id))
    return _answer(_address(request), query, found, _SUBJECT_FIELDS)


@router.patch(
    "/roles/{role_id}/subjects",
    **document_operation(examples.PATCHED_SUBJECTS, body=_PATCH, body_example=examples.SUBJECT_PATCH),
)
def patch_subjects(request: Request, member: MemberOf, backend: BackendOf, body: MemberBody, role_id: str) -> Json:
    """Add subjects to a role, or remove them."""
    with backend.database.writing() as session:
        row = role_patches.patch_subjects(session, member, role_id, body, backend.clock.now_ms())
        found = role_patches.subjects(session, row)
    answer = _answer(_address(request), ShortQuery(len(found) or 1), found, _SUBJECT_FIELDS)
    return {"subjects": answer.pop("items"), **answer}


@router.get("/policies", **document_operation(examples.NO_POLICIES))
def list_policies(member: MemberOf) -> Json:
    """List policies; always empty."""
    member.require_everywhere(MANAGE_ACCESS)
    return _answer("/administration/policies", ShortQuery(_DEFAULT_LIMIT), [], FIELDS)


@router.get("/policies/{policy_id}", **document_operation())
def get_policy(member: MemberOf, policy_id: str) -> Json:
    """Get a policy; always a 404."""
    member.require_everywhere(MANAGE_ACCESS)
    raise problems.not_found("policies", policy_id)


@router.get("/products", **document_operation(examples.PRODUCTS))
def products(_member: MemberOf) -> Json:
    """List products; the only one is Offtake."""
    return {"products": [_PRODUCT]}


@router.get("/products/{product_id}/categories", **document_operation(examples.CATEGORIES))
def categories(_member: MemberOf, product_id: str) -> Json:
    """List the categories of permissions."""
    _check_product(product_id)
    return {"categories": [{"name": name} for name in permissions.CATEGORIES]}


@router.get("/products/{product_id}/permission-sets", **document_operation(examples.PERMISSION_SETS))
def permission_sets(_member: MemberOf, product_id: str) -> Json:
    """List the permissions that roles can have."""
    _check_product(product_id)
    return {"permission-sets": permissions.permission_sets()}


def _answer(path: str, query: ShortQuery, found: list[Json], fields: tuple[str, ...]) -> Json:
    here = select_page(found, query, fields)
    page: Json = {"start": query.start, "limit": query.limit, "count": len(here.items)}
    page |= {"orderBy": query.order_by} if query.order_by else {}
    shown = {"self": {"href": path, "templated": False}} | links(path, query, here, "start")
    return {"items": here.items, "_page": page, "_links": shown}


def _address(request: Request) -> str:
    return str(request.url.replace(query=""))


def _check_product(product_id: str) -> None:
    if product_id != _PRODUCT["id"]:
        raise problems.not_found("products", product_id)
