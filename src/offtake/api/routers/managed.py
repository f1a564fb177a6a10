"""Extensions for resources that are declared in files: their tags, and the comparison of secrets."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query

from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.in_memory_lists import ShortListOf
from offtake.api.openapi import managed_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.documents import Json
from offtake.flows import managed_resources

_DEFAULT_LIMIT: Final = 100
_PATH: Final = "/managedResources"

router = APIRouter(tags=["managed resources"])

SetName = Annotated[str | None, Query(alias="set", description="Only resources of this set.", examples=["team-a"])]


@router.get(_PATH, **document_operation(examples.TAGS))
def list_tags(caller: CallerOf, backend: BackendOf, params: ShortListOf, set_name: SetName = None) -> Json:
    """List the resources that are declared in files, with their sets (an extension)."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        items, total = managed_resources.page(session, caller, set_name, query.start, query.limit)
    following = query.start + len(items)
    links = {}
    if items and following < total:
        given = {"limit": query.limit, "start": following} | ({"set": set_name} if set_name else {})
        links = {"next": {"href": f"{_PATH}?{urlencode(given)}"}}
    return {"items": items, "_links": links, "total": total}


@router.put(
    _PATH + "/{set_name}",
    **document_operation(examples.TAGGED, body=managed_resources.TaggedResources, body_example=examples.RESOURCES),
)
def tag(caller: CallerOf, backend: BackendOf, set_name: str, body: JsonBody) -> Json:
    """Put resources into a set; others of the set stay in it (an extension)."""
    with backend.database.writing() as session:
        changed = managed_resources.tag(session, caller, set_name, body, backend.clock.now_ms())
    return {"set": set_name, "changed": changed}


@router.post(
    _PATH + "/{set_name}/release",
    **document_operation(examples.TAGGED, body=managed_resources.TaggedResources, body_example=examples.RESOURCES),
)
def release(caller: CallerOf, backend: BackendOf, set_name: str, body: JsonBody) -> Json:
    """Take resources out of a set; the resources stay (an extension)."""
    with backend.database.writing() as session:
        changed = managed_resources.forget(session, caller, set_name, body, backend.clock.now_ms())
    return {"set": set_name, "changed": changed}


@router.post(
    _PATH + "/secrets",
    **document_operation(examples.COMPARED, body=managed_resources.SecretComparison, body_example=examples.COMPARISON),
)
def compare_secrets(caller: CallerOf, backend: BackendOf, body: JsonBody) -> Json:
    """Compare keyed hashes of secrets with the stored secrets (an extension)."""
    with backend.database.reading() as session:
        return {"resources": managed_resources.changed_secrets(session, caller, backend.vault, body)}
