"""A small client of the API that prints each call and a summary of its response."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx2

from offtake.cli import output
from offtake.documents import Json
from offtake.errors import OfftakeError

Summariser = Callable[[Json], object]


class Client:
    """Calls a server with the credentials of its first client."""

    def __init__(self, admin: Json) -> None:
        """`admin`: the content of `admin.json`, which the first start of a server writes."""
        self._http = httpx2.Client(base_url=admin["origin"], timeout=60)
        form = {"grant_type": "client_credentials", "client_id": admin["client_id"], "scope": "openid"}
        response = self._http.post("/ims/token/v3", data=form | {"client_secret": admin["client_secret"]})
        self._http.headers.update(
            {
                "Authorization": f"Bearer {response.raise_for_status().json()['access_token']}",
                "x-api-key": admin["client_id"],
                "x-gw-ims-org-id": admin["org_id"],
                "x-sandbox-name": admin["sandbox"],
            }
        )

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, summarise: Summariser) -> Json:
        """GET a document and print its summary."""
        document = self.quiet(path)
        _show("GET", path, 200, summarise(document))
        return document

    def quiet(self, path: str) -> Json:
        """GET a document without printing."""
        return _document(self._http.get(path))

    def post(self, path: str, body: Json) -> Json:
        """POST a document and print the whole response."""
        response = self._http.post(path, json=body)
        document = _document(response)
        _show("POST", path, response.status_code, document)
        return document

    def read(self, path: str) -> bytes:
        """GET the body's bytes without printing."""
        return _check(self._http.get(path)).content

    def patch(self, path: str, operations: list[Json]) -> None:
        """PATCH the current version of an entity and print the operations."""
        etag = self.quiet(path)["items"][0]["etag"]
        response = _check(self._http.patch(path, json=operations, headers={"If-Match": etag}))
        _show("PATCH", f"{path} {operations}", response.status_code, response.json())

    def create(self, resource: str, body: Json) -> str:
        """POST an entity of Flow Service and return its id."""
        created: str = self.post(f"/data/foundation/flowservice/{resource}", body)["id"]
        return created


def _document(response: httpx2.Response) -> Json:
    document: Json = _check(response).json()
    return document


def _check(response: httpx2.Response) -> httpx2.Response:
    if response.is_error:
        raise OfftakeError(
            f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text}"
        )
    return response


def _show(method: str, path: str, status: int, summarise: object) -> None:
    output.console.print(f"  {method} {path}", markup=False)
    output.console.print(f"  → {status} {summarise}", markup=False)
