"""The metrics of the process, for Prometheus. Outside of the contract; see docs/metrics.md."""

import hmac

from fastapi import APIRouter, Request, Response

from offtake.metrics.exposition import CONTENT_TYPE
from offtake.metrics.page import MetricsPage

router = APIRouter(tags=["health"], include_in_schema=False)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """What this process counted, and the state of the deployment. Needs the token of `OFFTAKE_METRICS_TOKEN`, if set.

    Takes two seconds at most, also when the database hangs.
    """
    token = request.app.state.backend.settings.metrics_token
    if token is not None and not _has_token(request, token.get_secret_value()):
        headers = {"WWW-Authenticate": "Bearer"}
        return Response("/metrics needs the token of OFFTAKE_METRICS_TOKEN.\n", 401, headers, "text/plain")
    page: MetricsPage = request.app.state.metrics
    return Response(await page.render(), headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)


def _has_token(request: Request, token: str) -> bool:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())
