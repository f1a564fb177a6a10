"""Requests to a server of the contract: documents, lists over all their pages, and errors as exceptions."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from offtake.client.problems import ServerError, error_of
from offtake.client.transport import (
    JSON,
    JSON_PATCH,
    LINES,
    Answer,
    NotAContractServerError,
    Query,
    Receive,
    Request,
    Transport,
)
from offtake.documents import Json
from offtake.errors import OfftakeError

FLOW_SERVICE: Final = "/data/foundation/flowservice"
ACTIVATION: Final = "/data/core/activation/disflowprovider"
CATALOG: Final = "/data/foundation/catalog"
LAKE_CATALOGS: Final = f"{CATALOG}/lakeCatalogs"
LABELS: Final = "/data/foundation/dataset"
INGESTION: Final = "/data/foundation/import"
DATA_ACCESS: Final = "/data/foundation/export"
SANDBOXES: Final = "/data/foundation/sandbox-management"
ACCESS_CONTROL: Final = "/data/foundation/access-control"
AUDIT: Final = "/data/foundation/audit"
_PAGE: Final = 100
_REDIRECTS: Final = range(300, 400)


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

    def send(self, request: Request, receive: Receive | None = None) -> Answer:
        """Send a request. Raises `ServerError` for the status of an error; `receive` is as in `Transport`."""
        answer = self.transport.send(request, receive)
        if answer.status in _REDIRECTS:
            raise NotAContractServerError
        if answer.is_error:
            raise error_of(request, answer)
        return answer

    def get(self, path: str, query: Query = ()) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """A document."""
        return self.send(Request("GET", path, query)).json()

    def get_extension(self, path: str, query: Query = ()) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """A document of an extension; None when the server does not have it."""
        try:
            return self.get(path, query)
        except ServerError as error:
            if error.is_not_served:
                return None
            raise

    def get_content(self, path: str, what: str) -> bytes:
        """The bytes of a document of an extension. Raises `extension_error` when the server does not have it."""
        try:
            return self.send(Request("GET", path)).content
        except ServerError as error:
            if error.is_not_served:
                raise self.extension_error(what) from None
            raise

    def get_lines(self, path: str, query: Query, each: Callable[[bytes], None]) -> Answer:
        """Call `each` with every line of a document of lines (NDJSON), as it arrives; the answer is without content."""
        rest = b""

        def receive(piece: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                each(line)

        answer = self.send(Request("GET", path, query, headers={"accept": LINES}), receive)
        if rest:
            each(rest)
        return answer

    def get_one(self, path: str) -> Json:
        """An entity of Flow Service, which it wraps into a list."""
        found = self.get(path)
        items = found.get("items") if isinstance(found, dict) else None
        if not isinstance(items, list) or len(items) != 1:
            raise NotAContractServerError
        one: Json = items[0]
        return one

    def get_all(self, path: str, query: Query = (), most: int | None = None) -> Iterator[Json]:
        """The entities of a list of Flow Service, page by page; at most `most`."""
        left, following = most, tuple(query)
        while True:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self.get(path, (("limit", str(size)), *following) if following == tuple(query) else following)
            items = page.get("items") if isinstance(page, dict) else None
            if not isinstance(items, list) or not all(_has_id(one) for one in items):
                raise NotAContractServerError
            yield from items if left is None else items[:left]
            left = None if left is None else left - len(items)
            token = _next_token(page)
            if not token or (left is not None and left <= 0):
                return
            if following == (("continuationToken", token),):
                raise NotAContractServerError
            following = (("continuationToken", token),)

    def get_by_start(self, path: str, key: str | None, query: Query = (), most: int | None = None) -> Iterator[Json]:
        """The items of a list whose pages are counted by their first item.

        `key`: of the items in a page. None for Catalog's pages, which are objects of documents by id; each document
        gets its `id`.
        """
        first, previous = 0, list[Json]()
        while most is None or first < most:
            size = _PAGE if most is None else min(_PAGE, most - first)
            name = "offset" if key == "sandboxes" else "start"
            page = self.get(path, (*query, ("limit", str(size)), (name, str(first))))
            items = _items(page, key)
            if items and items == previous:
                # A server that ignores the start would answer with its first page for ever.
                raise NotAContractServerError
            previous = items
            yield from items
            if len(items) < size:
                return
            first += len(items)

    def post(self, path: str, body: object = None, query: Query = ()) -> Any:  # noqa: ANN401 - as above
        """Send a document and return the answer's."""
        return self._document("POST", path, body, query, {})

    def put(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - as above
        """Replace a document and return the answer's."""
        return self._document("PUT", path, body, (), headers or {})

    def patch(self, path: str, operations: list[Json], etag: str | None = None) -> Any:  # noqa: ANN401 - as above
        """Change an entity by JSON Patch, if it still has that etag."""
        headers = {"content-type": JSON_PATCH} | ({"if-match": etag} if etag else {})
        return self._document("PATCH", path, operations, (), headers)

    def merge(self, path: str, changes: Json, etag: str | None = None) -> Any:  # noqa: ANN401 - as above
        """Change an entity by a merge patch, if it still has that etag."""
        return self._document("PATCH", path, changes, (), {"if-match": etag} if etag else {})

    def delete(self, path: str, query: Query = ()) -> Any:  # noqa: ANN401 - as above
        """Delete an entity; the answer's document, None for none."""
        answer = self.send(Request("DELETE", path, query))
        return answer.json() if answer.content else None

    def extension_error(self, what: str) -> OfftakeError:
        """The error of a command that needs an extension which this server does not have."""
        return OfftakeError(f"The server {self.name} does not offer this: {what} is an extension of Offtake.")

    def _document(self, method: str, path: str, body: object, query: Query, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - as above
        content = None if body is None else json.dumps(body).encode()
        answer = self.send(Request(method, path, query, content, {"content-type": JSON} | dict(headers)))
        return answer.json() if answer.content else None


def _items(page: object, key: str | None) -> list[Json]:
    if key is None and isinstance(page, dict) and all(isinstance(one, dict) for one in page.values()):
        return [{"id": name, **document} for name, document in page.items()]
    items = page.get(key) if isinstance(page, dict) else None
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise NotAContractServerError
    return items


def _has_id(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str)


def _next_token(page: Json) -> str:
    """The continuation token of the link to the next page; empty on the last page."""
    links = page.get("_links")
    following = links.get("next") if isinstance(links, dict) else None
    href = following.get("href") if isinstance(following, dict) else None
    if not isinstance(href, str):
        return ""
    return dict(parse_qsl(urlsplit(href).query)).get("continuationToken", "")
