"""A page for addresses that do not exist, when a browser asks; API clients get JSON as before."""

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from offtake.web.rendering import page

_API = ("/data/", "/ims/", "/openapi")


def install(app: FastAPI) -> None:
    """Wrap the API's handler of unknown addresses and methods."""
    answer_api = app.exception_handlers[HTTPException]

    async def handle(request: Request, error: Exception) -> Response:
        is_page = request.url.path.startswith("/ui/") or "text/html" in request.headers.get("accept", "")
        if not isinstance(error, HTTPException) or not is_page or request.url.path.startswith(_API):
            answered: Response = await run_in_threadpool(answer_api, request, error)  # type: ignore[arg-type] # the API's handler is a plain function
            return answered
        message = f"There is no page at {request.url.path[:200]}."
        return page(request, None, "error.html", error.status_code, title="Not found", message=message)

    app.add_exception_handler(HTTPException, handle)
