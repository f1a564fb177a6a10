"""The health check."""

from fastapi import APIRouter

from offtake import __version__

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Health check: responds while the server runs, even if all its threads are busy; needs no token."""
    return {"status": "ok", "version": __version__}
