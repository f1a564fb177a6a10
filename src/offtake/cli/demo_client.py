"""A small client of the API that shows each call and the heart of its answer."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx2

from offtake.cli import output
from offtake.errors import OfftakeError

Json = dict[str, Any]
Heart = Callable[[Json], object]


class Client:
    """Calls one server with the credentials of its first client."""

    def __init__(self, admin: Json) -> None:
        """`admin`: the document that the first start of a server writes."""
        self._http = httpx2.Client(base_url=admin["origin"], timeout=60)
        form = {"grant_type": "client_credentials", "client_id": admin["client_id"], "scope": "openid"}
        answer = self._http.post("/ims/token/v3", data=form | {"client_secret": admin["client_secret"]})
        self._http.headers.update(
            {
                "Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}",
                "x-api-key": admin["client_id"],
                "x-gw-ims-org-id": admin["org_id"],
                "x-sandbox-name": admin["sandbox"],
            }
        )

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, heart: Heart) -> Json:
        """GET, shown."""
        document = self.quiet(path)
        _show("GET", path, 200, heart(document))
        return document

    def quiet(self, path: str) -> Json:
        """GET, not shown."""
        return _document(self._http.get(path))

    def post(self, path: str, body: Json) -> Json:
        """POST, shown with its whole answer."""
        answer = self._http.post(path, json=body)
        document = _document(answer)
        _show("POST", path, answer.status_code, document)
        return document

    def read(self, path: str) -> bytes:
        """GET, not shown: the body's bytes."""
        return _check(self._http.get(path)).content

    def patch(self, path: str, operations: list[Json]) -> None:
        """PATCH an entity as it is now, shown with the operations."""
        etag = self.quiet(path)["items"][0]["etag"]
        answer = _check(self._http.patch(path, json=operations, headers={"If-Match": etag}))
        _show("PATCH", f"{path} {operations}", answer.status_code, answer.json())

    def create(self, resource: str, body: Json) -> str:
        """POST to a resource of Flow Service; the id of what was made."""
        created: str = self.post(f"/data/foundation/flowservice/{resource}", body)["id"]
        return created


def _document(answer: httpx2.Response) -> Json:
    document: Json = _check(answer).json()
    return document


def _check(answer: httpx2.Response) -> httpx2.Response:
    if answer.is_error:
        raise OfftakeError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer


def _show(method: str, path: str, status: int, heart: object) -> None:
    output.console.print(f"  {method} {path}", markup=False)
    output.console.print(f"  → {status} {heart}", markup=False)
