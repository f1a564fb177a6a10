"""An extension: an overview of a sandbox's deliveries."""

from typing import Annotated

from fastapi import APIRouter, Query

from offtake.api.dependencies import BackendOf, CallerOf
from offtake.api.openapi import extension_examples as examples
from offtake.api.openapi.operations import document_operation
from offtake.contract import problems
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.documents import Json
from offtake.flows.monitoring import DAY_MS
from offtake.flows.overview import overview

router = APIRouter(tags=["flows"])

_MOST = 100
_LATEST_MS = 2**48

Since = Annotated[
    str | None, Query(description="Totals of the runs that ended since then, epoch milliseconds; default: 24 hours.")
]
Limit = Annotated[str | None, Query(description="The most entries of each list, 1 to 100; default: 20.")]


@router.get("/overview", **document_operation(examples.OVERVIEW))
def get_overview(caller: CallerOf, backend: BackendOf, since: Since = None, limit: Limit = None) -> Json:
    """Get what was delivered, what runs, waits, is late or failed, and what ends soon (an extension)."""
    caller.require(VIEW_DESTINATIONS)
    now_ms = backend.clock.now_ms()
    start = _number("/since", since, 0, _LATEST_MS, now_ms - DAY_MS)
    most = _number("/limit", limit, 1, _MOST, 20)
    with backend.database.reading() as session:
        return overview(session, caller, start, now_ms, most)


def _number(name: str, text: str | None, least: int, most: int, default: int) -> int:
    if not text:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) < 16  # noqa: PLR2004 - below 2**63
    if not is_number or not least <= int(text) <= most:
        raise problems.of_field(name, f"must be a number from {least} to {most}")
    return int(text)
