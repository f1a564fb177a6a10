"""A person at the pages, without a browser: signs in, reads pages, sends forms."""

import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any

import httpx2

from offtake.access.clients import NewClient
from offtake.web.cookies import csrf_token
from tests.app_client import AppClient
from tests.deployment import Deployment

ORIGIN = "http://localhost"


@dataclass
class Visitor:
    """One browser with its cookies. `csrf`: the token of its session, as the last page had it."""

    http: AppClient
    csrf: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"accept": "text/html", "sec-fetch-site": "same-origin"})

    def get(self, path: str, status: int = 200) -> str:
        """The text of a page."""
        answer = self.http.get(ORIGIN + path, headers=self.headers)
        assert answer.status_code == status, words(answer.text)
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text)
        self.csrf = found[1] if found else self.csrf
        return answer.text

    def post(self, path: str, form: dict[str, Any] | None = None, status: int = 303, **others: Any) -> httpx2.Response:
        """Send a form with the session's token; the answer, not followed."""
        sent = {"csrf": self.csrf} | (form or {})
        answer = self.http.post(ORIGIN + path, data=sent, headers=self.headers, follow_redirects=False, **others)
        assert answer.status_code == status, words(answer.text)
        return answer


def csrf_of(person: Visitor) -> str:
    """The token of the person's session, without a page that shows it."""
    return csrf_token(next(one.value or "" for one in person.http.cookies.jar if one.name == "offtake"))


_open: list[AppClient] = []


def close_all() -> None:
    """Close the clients of a test."""
    while _open:
        _open.pop().close()


def visitor(deployed: Deployment, address: str = "127.0.0.1") -> Visitor:
    """A person who is not signed in."""
    _open.append(AppClient(deployed.http.app, address))
    return Visitor(_open[-1])


def signed_in(deployed: Deployment, client: NewClient | None = None) -> Visitor:
    """A person who is signed in, as the administrator unless another client is given."""
    one = client or deployed.admin
    found = visitor(deployed)
    found.post("/ui/sign-in", {"client_id": one.client_id, "client_secret": one.client_secret})
    found.get(f"/ui/{one.sandbox}")
    return found


class _Fields(HTMLParser):
    """Collects the fields of one form as a browser would send them, and its buttons."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id, self.inside = form_id, False
        self.found: list[tuple[str, str]] = []
        self.buttons: list[dict[str, str | None]] = []
        self.select = self.area = ""
        self.is_empty = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        sent = dict(attrs)
        if tag == "form":
            self.inside = sent.get("id") == self.form_id
        if tag == "option" and self.select and ("selected" in sent or self.is_empty):
            self.found[-1], self.is_empty = (self.select, sent.get("value") or ""), False
        if not (self.inside if "form" not in sent else sent["form"] == self.form_id):
            return
        name, kind = sent.get("name") or "", sent.get("type")
        if tag == "button":
            self.buttons.append(sent)
        elif tag == "select":
            self.select, self.is_empty = name, True
            self.found.append((name, ""))
        elif tag == "textarea":
            self.area = name
            self.found.append((name, ""))
        elif tag == "input" and name and (kind not in ("checkbox", "radio") or "checked" in sent):
            self.found.append((name, sent.get("value") or ""))

    def handle_data(self, data: str) -> None:
        if self.area:
            self.found[-1] = (self.area, self.found[-1][1] + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "select":
            self.select = ""
        elif tag == "textarea":
            self.area = ""


def form_of(page: str, form_id: str) -> tuple[dict[str, list[str]], list[dict[str, str | None]]]:
    """What a browser would send for the form, by name; and its buttons, in the page's order."""
    parser = _Fields(form_id)
    parser.feed(page)
    fields: dict[str, list[str]] = {}
    for name, value in parser.found:
        if name:
            fields.setdefault(name, []).append(value)
    return fields, parser.buttons


def words(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)))


def fields_of(page: str) -> dict[str, Any]:
    """What a browser would send of the forms in that part of a page; fields of several values as lists."""
    reader = _FieldReader()
    reader.feed(page)
    return {name: values if name == "dataset" else values[0] for name, values in reader.found.items()}


class _FieldReader(HTMLParser):
    """Collects the fields of forms."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self._area = self._choice = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "input" and name and (given.get("type") not in ("checkbox", "radio") or "checked" in given):
            self.found.setdefault(name, []).append(given.get("value", "on"))
        elif tag == "textarea":
            self._area = name
            self.found.setdefault(name, []).append("")
        elif tag == "select":
            self._choice = name
        elif tag == "option" and "selected" in given:
            self.found.setdefault(self._choice, []).append(given.get("value", ""))

    def handle_data(self, data: str) -> None:
        if self._area:
            self.found[self._area][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""
