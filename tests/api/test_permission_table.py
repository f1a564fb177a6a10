"""What a client with each single permission can reach: determined from all routes, listed in `docs/permissions.md`.

`OFFTAKE_TEST_WRITE_DOCS=1` writes the page; without it, the page is compared.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from offtake.contract.caller import PERMISSIONS, Caller
from offtake.engines.local import LocalEngine
from tests.alerts.receivers import Receiver
from tests.alerts.world import World
from tests.conftest import NOON
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock

PAGE: Final = Path(__file__).parents[2] / "docs" / "permissions.md"
METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
Need = frozenset[str]
Call = tuple[str, str]
UNKNOWN: Final = frozenset(["?"])
"""In place of what is needed: the call was refused for what it asks before the server looked at permissions."""

HEAD: Final = """# Permissions and calls

Roles grant permissions in sandboxes. `tests/api/test_permission_table.py` generates this page: it makes every call of
the API, records the permissions that the server checks, and repeats the calls with clients that have only one
permission.

## Calls allowed by a single permission

For a client that has only this permission, in every sandbox. Labels of flows and datasets restrict it further.

{alone}

Calls that need only a token: {free}.

Calls with unknown permissions, because they were refused for their example before permissions were checked:
{unknown}.

Files of a landing zone need no token, but [landing zone credentials](landing-zone.md).

## What each call needs

{needs}
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine) -> Iterator[Deployment]:
    """A deployment with one thing of most kinds in it."""
    with deployment(tmp_path_factory.mktemp("table") / "data", FakeClock(NOON), engine) as opened:
        opened.flow(opened.import_rows("events", rows(0, 3)))
        opened.run_due()
        opened.sign_in()
        new = {"name": "dev", "title": "Development", "type": "development"}
        opened.post("/data/foundation/sandbox-management/sandboxes", new, 202)
        World(opened, Receiver(port=1)).dead_letter()
        yield opened


@pytest.fixture(scope="module")
def ids(filled: Deployment) -> dict[str, str]:
    """Of what is there, by the step of a path that comes before the id."""
    kinds: tuple[str, ...] = ("flows", "runs", "connections", "sourceConnections", "targetConnections")
    kinds += ("alertChannels", "alertRules", "alertMessages")
    found = {kind: str(filled.get(f"/{kind}")["items"][0]["id"]) for kind in kinds}
    for kind in ("dataSets", "batches"):
        found[kind] = next(iter(filled.http.get(f"/data/foundation/catalog/{kind}").json()))
    return found | {"datasets": found["dataSets"], "sandboxes": "dev"}


@pytest.fixture(scope="module")
def calls(filled: Deployment) -> dict[Call, dict[str, Any]]:
    """Every call that the API's document names and that takes a token, with the document of each."""
    document = filled.http.get("/openapi.json").json()
    found = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in METHODS and not _is_open(path)
    }
    # What is removed is still there for the calls before.
    return dict(sorted(found.items(), key=lambda item: (item[0][0] == "DELETE", item[0][1], item[0][0])))


def _is_open(path: str) -> bool:
    """What is served without a token: signing in, health, and files by their own credentials."""
    return path in ("/healthz", "/readyz", "/metrics") or path.startswith(("/ims/", "/dlz-"))


@pytest.fixture(scope="module")
def needs(filled: Deployment, ids: dict[str, str], calls: dict[Call, dict[str, Any]]) -> dict[Call, frozenset[Need]]:
    """What the server asks of an administrator that makes each call: one of each set."""
    asked: set[Need] = set()

    def record(_caller: Caller, *alternatives: str) -> None:
        asked.add(frozenset(alternatives))

    found: dict[Call, frozenset[Need]] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Caller, "require", record)
        patched.setattr(Caller, "require_everywhere", record)
        for call, operation in calls.items():
            asked.clear()
            answer = make(filled, ids, call, operation)
            assert answer.status_code < 500, (call, answer.text)
            is_refused = answer.status_code >= 400 and not asked
            found[call] = frozenset([UNKNOWN]) if is_refused else frozenset(asked)
    return found


def make(deployed: Deployment, ids: dict[str, str], call: Call, operation: dict[str, Any]) -> Any:
    """Make the call with the document's own example of a body, and the id of something that is there."""
    method, path = call
    steps = path.split("/")
    known = (ids.get(before, "unknown") if step.startswith("{") else step for before, step in pairwise(["", *steps]))
    path = "/".join(known)
    content = operation.get("requestBody", {}).get("content", {})
    kind: str = next(iter(content), "")
    described: dict[str, Any] = content.get(kind, {})
    examples = [one.get("value") for one in described.get("examples", {}).values()]
    body = described.get("example", examples[0] if examples else {})
    query = {
        one["name"]: one.get("example", one.get("schema", {}).get("example", "refresh"))
        for one in operation.get("parameters", [])
        if one["in"] == "query" and (one.get("required") or one["name"] == "action")
    }
    given: dict[str, Any] = {"json": body} if "json" in kind else {"content": b"{}"} if kind else {}
    headers = {"Content-Type": kind, "If-Match": "*"} if kind else {"If-Match": "*"}
    return deployed.http.request(method, path, params=query, headers=headers, follow_redirects=False, **given)


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_single_permission_reaches_what_the_page_says_and_nothing_else(
    filled: Deployment,
    ids: dict[str, str],
    calls: dict[Call, dict[str, Any]],
    needs: dict[Call, frozenset[Need]],
    permission: str,
) -> None:
    client = filled.new_client(permission)
    for call, operation in calls.items():
        if UNKNOWN in needs[call]:
            continue
        allowed = all(permission in need for need in needs[call])
        if allowed and call[0] != "GET":
            continue  # it would change what the others are tried with
        with filled.acting(client):
            answer = make(filled, ids, call, operation)
        lacks = answer.status_code == 403 and ("-2120-403" in answer.text or call[0] == "HEAD")
        # Without the permission: 403, or 400 or 404 where the thing does not exist or is hidden from the client.
        assert (not lacks) if allowed else (lacks or answer.status_code in (400, 404)), (call, answer.text)


def test_the_page_tells_what_each_permission_reaches(needs: dict[Call, frozenset[Need]]) -> None:
    page = render(needs)
    if os.environ.get("OFFTAKE_TEST_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "run with OFFTAKE_TEST_WRITE_DOCS=1"


def render(needs: dict[Call, frozenset[Need]]) -> str:
    """The page."""
    reached = {
        permission: [call for call, asked in needs.items() if asked and all(permission in need for need in asked)]
        for permission in PERMISSIONS
    }
    alone = "\n".join(
        [
            "| Permission | Reaches |",
            "|---|---|",
            *(f"| `{name}` | {_list_calls(found) or 'nothing by itself'} |" for name, found in reached.items()),
        ]
    )
    ordered = sorted((item for item in needs.items() if UNKNOWN not in item[1]), key=_by_path)
    lines = [f"| `{method} {path}` | {_words(asked)} |" for (method, path), asked in ordered]
    listed = "\n".join(["| Call | Needs |", "|---|---|", *lines])
    free = _list_calls([call for call, asked in needs.items() if not asked]) or "none"
    unknown = _list_calls([call for call, asked in needs.items() if UNKNOWN in asked]) or "none"
    return HEAD.format(alone=alone, free=free, unknown=unknown, needs=listed)


def _by_path(item: tuple[Call, frozenset[Need]]) -> tuple[str, str]:
    return item[0][1], item[0][0]


def _list_calls(found: list[Call]) -> str:
    return ", ".join(f"`{method} {path}`" for method, path in sorted(found, key=lambda call: (call[1], call[0])))


def _words(asked: frozenset[Need]) -> str:
    every = sorted(" or ".join(f"`{one}`" for one in sorted(need)) for need in asked)
    return " and ".join(f"({one})" if " or " in one and len(every) > 1 else one for one in every) or "a token"
