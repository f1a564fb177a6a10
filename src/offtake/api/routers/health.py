"""Whether the server is there."""

from fastapi import APIRouter

from offtake import __version__

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Answers while the server serves, also when no thread is free; needs no token."""
    return {"status": "ok", "version": __version__}
