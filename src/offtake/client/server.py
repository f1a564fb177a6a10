"""Requests to a server of the contract: documents, lists over all their pages, and errors as exceptions."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from offtake.client.problems import error_of
from offtake.client.transport import JSON, JSON_PATCH, Answer, NotAContractServerError, Query, Request, Transport
from offtake.documents import Json

FLOW_SERVICE: Final = "/data/foundation/flowservice"
_PAGE: Final = 100


@dataclass(frozen=True)
class Server(AbstractContextManager["Server"]):
    """A server of the contract. Raises `ServerError` for refused requests, and `OfftakeError` if it is unreachable."""

    transport: Transport

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.transport.close()

    @property
    def name(self) -> str:
        """The server, for messages."""
        return self.transport.server

    def send(self, request: Request) -> Answer:
        """Send a request. Raises `ServerError` for the status of an error."""
        answer = self.transport.send(request)
        if answer.is_error:
            raise error_of(request, answer)
        return answer

    def get(self, path: str, query: Query = ()) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """A document."""
        return self.send(Request("GET", path, query)).json()

    def get_one(self, path: str) -> Json:
        """An entity of Flow Service, which it wraps into a list."""
        items = self.get(path).get("items")
        if not isinstance(items, list) or len(items) != 1:
            raise NotAContractServerError
        found: Json = items[0]
        return found

    def get_all(self, path: str, query: Query = (), most: int | None = None) -> Iterator[Json]:
        """The entities of a list of Flow Service, page by page; at most `most`."""
        left, following = most, tuple(query)
        while True:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self.get(path, (("limit", str(size)), *following) if following == tuple(query) else following)
            items = page.get("items") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise NotAContractServerError
            yield from items if left is None else items[:left]
            left = None if left is None else left - len(items)
            token = _next_token(page)
            if not token or (left is not None and left <= 0):
                return
            following = (("continuationToken", token),)

    def post(self, path: str, body: object = None, query: Query = ()) -> Any:  # noqa: ANN401 - as above
        """Send a document and return the answer's."""
        return self._document("POST", path, body, query, {})

    def put(self, path: str, body: object) -> Any:  # noqa: ANN401 - as above
        """Replace a document and return the answer's."""
        return self._document("PUT", path, body, (), {})

    def patch(self, path: str, operations: list[Json], etag: str | None = None) -> Any:  # noqa: ANN401 - as above
        """Change an entity by JSON Patch, if it still has that etag."""
        headers = {"content-type": JSON_PATCH} | ({"if-match": etag} if etag else {})
        return self._document("PATCH", path, operations, (), headers)

    def delete(self, path: str, query: Query = ()) -> None:
        """Delete an entity."""
        self.send(Request("DELETE", path, query))

    def _document(self, method: str, path: str, body: object, query: Query, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - as above
        content = None if body is None else json.dumps(body).encode()
        answer = self.send(Request(method, path, query, content, {"content-type": JSON} | dict(headers)))
        return answer.json() if answer.content else None


def _next_token(page: Json) -> str:
    """The continuation token of the link to the next page; empty on the last page."""
    links = page.get("_links")
    following = links.get("next") if isinstance(links, dict) else None
    href = following.get("href") if isinstance(following, dict) else None
    if not isinstance(href, str):
        return ""
    return dict(parse_qsl(urlsplit(href).query)).get("continuationToken", "")
