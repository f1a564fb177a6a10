"""A person loses the rights while pages are open."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import httpx2

from offtake.access import access, clients, roles
from offtake.access.clients import NewClient, Registration
from offtake.clock import Clock
from offtake.deployment.backend import open_backend
from offtake.settings import Settings
from tests.attacks.server import serving
from tests.web import world
from tests.web.pages import every_page

_FORM = re.compile(r'<form method="post" action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_TYPED = re.compile(r'Type <b dir="auto">(.*?)</b> to confirm')
_FREE = ("components",)
"""Pages that need no permission."""


def _forms(page: str) -> Iterator[tuple[str, dict[str, str]]]:
    for action, inner in _FORM.findall(page):
        if action not in ("/ui/sign-out", "/ui/time-zone"):
            fields = [*_HIDDEN.findall(inner), *(("typed", one) for one in _TYPED.findall(inner))]
            yield unescape(action), {name: unescape(value) for name, value in fields}


def _add_administrator(data_dir: Path) -> tuple[str, NewClient]:
    """A second client with a role of its own that allows everything; the role's id, and the client."""
    backend = open_backend(Settings(data_dir=data_dir), Clock())
    try:
        operator, now = access.organisation_operator(backend.database), backend.clock.now_ms()
        with backend.database.writing() as session:
            role = roles.create(session, operator, _role("*"), now)
            client, secret = clients.register(session, operator, Registration("Second", "service", (role.name,)), now)
            return role.id, NewClient(client.org_id, client.id, str(secret), "prod")
    finally:
        backend.close()


def _role(permission: str) -> dict[str, object]:
    labels = {"subjectAttributes": {"labels": ["*"]}}
    texts = {"name": "Second", "description": "", "roleType": "user-defined"}
    return {**texts, "permissionSets": [permission], "sandboxes": ["*"], **labels}


def _counts(data_dir: Path) -> dict[str, int]:
    """The number of rows of each table but those that count sign-ins and sessions."""
    with closing(sqlite3.connect(data_dir / "offtake.db")) as store:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: store.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608


def test_no_page_and_no_form_works_after_the_rights_are_lost(tmp_path: Path) -> None:
    made = world.make(tmp_path / "data")
    role_id, second = _add_administrator(made.data_dir)
    with serving(tmp_path, no_worker=True) as server, httpx2.Client(base_url=server.origin, timeout=30) as person:
        form = {"client_id": second.client_id, "client_secret": second.client_secret}
        assert person.post("/ui/sign-in", data=form).status_code == 303
        paths = {name: f"/ui/prod{path}" for name, path in every_page(made).items() if name not in _FREE}
        pages = {name: person.get(path) for name, path in paths.items()}
        assert {name: answer.status_code for name, answer in pages.items() if answer.status_code != 200} == {}
        forms = {action: sent for answer in pages.values() for action, sent in _forms(answer.text)}
        assert len(forms) > 30
        answer = server.call(
            "PUT", f"/data/foundation/access-control/administration/roles/{role_id}", json=_role("view-audit-log")
        )
        assert answer.status_code == 200, answer.text
        before = _counts(made.data_dir)
        left = {
            name: answer.status_code for name, path in paths.items() if (answer := person.get(path)).status_code != 403
        }
        # The first page leads to one that is still allowed; everyone may see the sandboxes of their roles.
        assert left == {"deliveries": 303, "audit": 200, "sandboxes": 200, "sandbox": 200}
        headers = {"sec-fetch-site": "same-origin"}
        done = {action: person.post(action, data=sent, headers=headers).status_code for action, sent in forms.items()}
        assert {action: status for action, status in done.items() if status != 403} == {}
        assert _counts(made.data_dir) == before
