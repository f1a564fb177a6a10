"""Imports through the pages: uploads a file, reads its review, presses its buttons."""

from typing import Any

import httpx2
from sqlalchemy import select

from offtake.store.tables import Batch, Dataset
from tests.deployment import Deployment
from tests.web.browsing import ORIGIN, Visitor, form_of, words

FORM = "/ui/prod/datasets/import"
CSV = b"id,city\n1,Bern\n2,Oslo\n"


def multipart(fields: list[tuple[str, str]], files: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    """A form as browsers send it."""
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields
    ]
    parts += [
        f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode()
        + b"Content-Type: application/octet-stream\r\n\r\n"
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--xyz--\r\n", "multipart/form-data; boundary=xyz"


def send(
    person: Visitor,
    *files: tuple[str, bytes],
    name: str = "",
    following: str = "",
    status: int = 303,
    csrf: str | None = None,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    person.get(FORM)
    fields = [("csrf", person.csrf if csrf is None else csrf), ("name", name), ("next", following)]
    body, kind = multipart(fields, list(files))
    sent = person.headers | {"content-type": kind} | (headers or {})
    answer = person.http.post(ORIGIN + FORM, content=body, headers=sent, follow_redirects=False)
    assert answer.status_code == status, answer.text
    return answer


def all_batches(deployed: Deployment) -> list[Batch]:
    with deployed.backend.database.reading() as session:
        return list(session.scalars(select(Batch).order_by(Batch.created_at, Batch.id)))


def all_names(deployed: Deployment) -> list[str]:
    with deployed.backend.database.reading() as session:
        return sorted(session.scalars(select(Dataset.name)))


def pressed(
    person: Visitor, page: str, action: str, form: dict[str, Any] | None = None, status: int = 303
) -> httpx2.Response:
    """The answer to the review's form, as it is shown or with other values, sent by the button with that action."""
    shown, buttons = form_of(page, "options")
    button = next(one for one in buttons if action in (one.get("formaction") or ""))
    return person.post(str(button["formaction"]), {**shown, **(form or {})}, status)


def committed(deployed: Deployment, person: Visitor, review: str, form: dict[str, Any] | None = None) -> str:
    """The page of the batch after its import."""
    page = person.get(review)
    answer = pressed(person, page, "/commit", form)
    page = person.get(answer.headers["location"])
    assert "Queued" in words(page)
    assert "data-poll" in page
    deployed.ingest_due()
    return words(person.get(answer.headers["location"]))
