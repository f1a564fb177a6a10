"""Whether the server is there."""

from fastapi import APIRouter

from offtake import __version__

router = APIRouter(tags=["health"])


@router.get("/healthz")
def health() -> dict[str, str]:
    """Answers while the server serves; needs no token."""
    return {"status": "ok", "version": __version__}
