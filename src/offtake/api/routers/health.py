"""Health checks of the process, for load balancers and orchestrators; no token is needed."""

from typing import Any, Final, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from offtake import __version__
from offtake.api.dependencies import BackendOf
from offtake.deployment.readiness import Reason

router = APIRouter(tags=["health"])
_NOT_READY: Final = 503


class ReadinessReport(BaseModel):
    """The body of `/readyz`."""

    status: Literal["ready", "not ready"]
    reasons: list[Reason] = Field(description="Why the process is not ready; empty if it is.")


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {_NOT_READY: {"model": ReadinessReport}}


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Liveness: responds while the process runs, even if all its threads are busy; needs no token."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz", response_model=ReadinessReport, responses=_RESPONSES)
async def ready(backend: BackendOf) -> JSONResponse:
    """Readiness: 503 with fixed codes while the store or lake is unavailable, the clock differs or the server stops.

    Needs no token. The result is cached for a second, and the response takes two seconds at most.
    """
    reasons = await backend.readiness.reasons()
    report = ReadinessReport(status="not ready" if reasons else "ready", reasons=list(reasons))
    status = _NOT_READY if reasons else 200
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if reasons else {})
    return JSONResponse(report.model_dump(), status, headers=headers)
