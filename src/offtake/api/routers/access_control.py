"""What permissions there are, and which of them the caller has (contract, section 27)."""

from typing import Any

from fastapi import APIRouter

from offtake.api.gateway import CallerOf, JsonBody
from offtake.flows import policies

Json = dict[str, Any]

router = APIRouter(tags=["access control"])


@router.get("/acl/reference")
def reference(_caller: CallerOf) -> Json:
    """Every permission, every type of resource, and the actions they allow."""
    return policies.reference()


@router.post("/acl/effective-policies")
def effective_policies(caller: CallerOf, body: JsonBody) -> Json:
    """Of an array of URLs such as `/permissions/view-datasets`, those that the caller has in this sandbox."""
    return policies.effective(caller, body)
