"""A REST catalog over a SQL catalog: the protocol's read side, with what a hostile server would add."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

from tests.servers import serving

CLIENT = ("reader", "reader-secret-MARKED")


@dataclass
class RestCatalogServer:
    """The server. `config`: of `GET /v1/config`; `table_config`: what it says about each table; `seen`: requests.

    `lent`: storage credentials of each table. `views`: names of views. `endless`: each list names a next page.
    `tokens`: those that it has issued and accepts. `answer`: for every table, instead of the true one. `fails`: the
    status of every answer. `hangs`: no answer is given until it is false again.
    """

    tables: SqlCatalog
    origin: str = ""
    config: dict[str, Any] = field(default_factory=lambda: {"defaults": {}, "overrides": {}})
    table_config: dict[str, str] = field(default_factory=dict)
    lent: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    fails: int | None = None
    answer: dict[str, Any] | None = None
    views: list[tuple[str, ...]] = field(default_factory=list)
    endless: bool = False
    hangs: bool = False

    def document(self, identifier: tuple[str, ...]) -> dict[str, Any]:
        """The answer for a table."""
        table = self.tables.load_table(identifier)
        return {
            "metadata-location": table.metadata_location,
            "metadata": json.loads(table.io.new_input(table.metadata_location).open().read()),
            "config": self.table_config,
            "storage-credentials": self.lent,
        }


@contextmanager
def rest_catalog(tables: SqlCatalog) -> Iterator[RestCatalogServer]:
    """The catalog on a port of its own."""
    found = RestCatalogServer(tables)
    with serving(_app(found)) as origin:
        found.origin = origin
        yield found


def _app(server: RestCatalogServer) -> FastAPI:  # noqa: C901 - one function an endpoint
    app = FastAPI()

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        server.seen.append(f"{request.method} {request.url.path}")
        while server.hangs:
            await asyncio.sleep(0.05)
        if server.fails is not None:
            return _error(server.fails, "on purpose")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not request.url.path.endswith("/oauth/tokens") and token not in server.tokens:
            return _error(401, "who are you?")
        answer: Response = await call_next(request)
        return answer

    @app.post("/v1/oauth/tokens")
    async def sign_in(request: Request) -> Any:
        form = await request.form()
        if (form.get("client_id"), form.get("client_secret")) != CLIENT:
            return _json(400, {"error": "invalid_client", "error_description": "wrong secret"})
        server.tokens.append(f"token-{len(server.tokens)}")
        return {"access_token": server.tokens[-1], "token_type": "bearer", "expires_in": 3600}

    @app.get("/v1/config")
    def config() -> Any:
        return server.config

    @app.get("/v1/namespaces")
    def namespaces() -> Any:
        more = {"next-page-token": "more"} if server.endless else {}
        return {"namespaces": server.tables.list_namespaces(), **more}

    @app.get("/v1/namespaces/{namespace}/tables")
    def tables(namespace: str) -> Any:
        if not server.tables.namespace_exists(namespace):
            return _error(404, "no such namespace")
        found = server.tables.list_tables(namespace)
        return {"identifiers": [{"namespace": one[:-1], "name": one[-1]} for one in found]}

    @app.get("/v1/namespaces/{namespace}/tables/{table}")
    def load(namespace: str, table: str) -> Any:
        try:
            return server.answer or server.document((namespace, table))
        except NoSuchTableError:
            return _error(404, "no such table")

    @app.head("/v1/namespaces/{namespace}/views/{view}")
    def view(namespace: str, view: str) -> Any:
        return Response(status_code=204 if (namespace, view) in server.views else 404)

    return app


def _error(status: int, message: str) -> Response:
    if status == 302:
        return Response(status_code=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})
    return _json(status, {"error": {"message": message, "type": "Exception", "code": status}})


def _json(status: int, document: Any) -> Response:
    return Response(json.dumps(document), status, media_type="application/json")
