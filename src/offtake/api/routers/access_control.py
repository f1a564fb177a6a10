"""All permissions, and those of the caller (contract, section 27)."""

from fastapi import APIRouter

from offtake.access import permissions
from offtake.api.dependencies import CallerOf, JsonBody
from offtake.api.openapi import admin_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.documents import Json

router = APIRouter(tags=["access control"])


@router.get("/acl/reference", **document_operation(examples.REFERENCE))
def reference(_caller: CallerOf) -> Json:
    """List all permissions and resource types, with the actions they allow."""
    return permissions.reference()


@router.post(
    "/acl/effective-policies",
    **document_operation(
        examples.POLICIES,
        schema={"type": "object", "properties": {"policies": {"type": "object"}}},
        body={"type": "array", "items": {"type": "string"}, "maxItems": 1000},
        body_example=examples.ASKED_POLICIES,
    ),
)
def effective_policies(caller: CallerOf, body: JsonBody) -> Json:
    """Get the caller's permissions in this sandbox, among those listed (such as `/permissions/view-datasets`)."""
    return permissions.effective(caller, body)
