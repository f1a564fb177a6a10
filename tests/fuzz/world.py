"""A deployment with one thing of each kind in it, and requests to its application, made without a network."""

import asyncio
import json
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from offtake.access.sign_ins import SignIns
from offtake.engines.local import LocalEngine
from tests.api.test_secrets import ACCOUNTS
from tests.app_client import run_in_place
from tests.conftest import NOON
from tests.deployment import FLOW_SERVICE, LAKE, ZONE, ZONE_FLOW, Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.fuzz.grammar import Json

CATALOG: Final = "/data/foundation/catalog"
IMPORT: Final = "/data/foundation/import"
EXPORT: Final = "/data/foundation/export"
ACCESS: Final = "/data/foundation/access-control/administration"
SANDBOXES: Final = "/data/foundation/sandbox-management/sandboxes"
LANDING_ZONE: Final = "/data/foundation/connectors/landingzone"
AUDIT: Final = "/data/foundation/audit"
ADHOC: Final = "/data/core/activation/disflowprovider/adhocrun"
_SHOWN: Final = 4000
_KEPT: Final = 8
_MOST_MADE: Final = 40

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Request:
    """A request as it comes over the wire: `target` is the path and the query, escaped.

    With `signed`, the headers of a signed-in client come first.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    signed: bool = True

    def __str__(self) -> str:
        shown = repr(self)
        return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}… ({len(shown)} characters)"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Operation:
    """A call that the application's own document names: its query parameters, and a body that is right."""

    method: str
    path: str
    queries: tuple[str, ...]
    takes_body: bool
    body: Any

    @property
    def is_harmless(self) -> bool:
        """Whether it may be about what other requests need: it removes nothing."""
        return self.method != "DELETE" and not (self.method == "POST" and not self.takes_body)


@dataclass
class World:
    """What requests refer to, and what has been made of it.

    `known`: ids by the step of a path that comes before them. `made`: ids of what requests made, for others to change
    and to remove. `given_out`: tokens.
    """

    deployed: Deployment
    operations: list[Operation]
    known: dict[str, list[str]]
    signed: Headers
    given_out: list[str]
    signature: str
    accounts: dict[str, str]
    made: dict[str, list[str]] = field(default_factory=dict)
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: int = 0
    kind: str = ""
    before: deque[Request] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def body_of(self, operation: Operation) -> Any:
        """A body that is right, about things that are there."""
        return self.bodies.get((operation.method, operation.path), operation.body)

    @property
    def bodies(self) -> dict[tuple[str, str], Any]:
        """Bodies that are right here; the document's examples name things that are not."""
        lake, zone = {"id": LAKE, "version": "1.0"}, {"id": ZONE, "version": "1.0"}
        one = {kind: ids[0] for kind, ids in self.known.items()}
        schedule = {"exportMode": "FIRST_FULL_THEN_INCREMENTAL", "timeUnit": "hour", "interval": 3}
        return {
            ("POST", f"{FLOW_SERVICE}/sourceConnections"): {
                "name": "s",
                "connectionSpec": lake,
                "params": {"datasets": [{"dataSetId": one["dataSets"]}]},
            },
            ("POST", f"{FLOW_SERVICE}/targetConnections"): {
                "name": "t",
                "baseConnectionId": one["connections"],
                "connectionSpec": zone,
                "params": {"path": "e", "datasetFileType": "JSON", "compression": "GZIP"},
            },
            ("POST", f"{FLOW_SERVICE}/flows"): {
                "name": "f",
                "flowSpec": {"id": ZONE_FLOW, "version": "1.0"},
                "sourceConnectionIds": [one["sourceConnections"]],
                "targetConnectionIds": [one["targetConnections"]],
                "transformations": [],
                "scheduleParams": {**schedule, "startTime": NOON // 1000, "foldernameTemplate": "%DATASET_ID%"},
            },
            ("POST", f"{FLOW_SERVICE}/runs"): {"flowId": one["flows"], "metrics": {}},
            ("POST", ADHOC): {
                "activationInfo": {"destinations": [{"flowId": one["flows"], "datasets": [{"id": one["dataSets"]}]}]}
            },
            ("POST", f"{CATALOG}/batches"): {
                "status": "loading",
                "relatedObjects": [{"type": "dataSet", "id": one["dataSets"]}],
                "inputFormat": {"format": "json", "isMultiLineJson": False},
            },
            ("POST", f"{IMPORT}/batches"): {
                "datasetId": one["dataSets"],
                "inputFormat": {"format": "csv", "delimiter": ";", "columnTypes": {"id": "long"}},
                "replay": {"predecessors": [], "reason": "replace"},
            },
        }

    async def call(self, request: Request) -> Answer:
        """Make the request; what is answered is a success, or a refusal that says why. Else the assertion names it."""
        self.calls += 1
        self.before.append(request)
        try:
            answer = await _answer(self.deployed.http.app, request, self.signed if request.signed else ())
        except Exception as error:
            raise AssertionError(f"{request} ended in {error!r}{self.history()}") from error
        problem = _problem(request, answer)
        assert problem is None, f"{request} was answered {problem}{self.history()}"
        self.tally[self.kind, f"{answer.status // 100}xx"] += 1
        return answer

    def remember(self, request: Request, answer: Answer) -> None:
        """Keep the id of what a request made."""
        step = urlsplit(request.target).path.rstrip("/").rpartition("/")[2]
        if request.method == "POST" and answer.status < 300 and step in self.known:
            found = answer.json()
            made = found[0].rpartition("/")[2] if isinstance(found, list) else found.get("id") or found.get("name")
            ids = self.made.setdefault(step, [])
            ids.append(str(made))
            del ids[:-_MOST_MADE]

    def history(self) -> str:
        """The requests of the same draw before the last one."""
        return "".join(f"\n  before it: {one}" for one in list(self.before)[:-1])


def _problem(request: Request, answer: Answer) -> str | None:
    """Why an answer is none that a client can live with; None when it is one."""
    shown = f"{answer.status} {dict(answer.headers)} {answer.body[:1000]!r}"
    if answer.status >= 500 and not (answer.status == 503 and answer.header(b"retry-after")):
        return shown
    if any(re.search(rb"[\x00\r\n]", given) for pair in answer.headers for given in pair):
        return f"{shown}: a header that HTTP does not know"
    length = answer.header(b"content-length")
    if request.method != "HEAD" and answer.status not in (204, 304) and length not in (None, b"%d" % len(answer.body)):
        return f"{shown}: another length than it says"
    if answer.status >= 400 and request.method != "HEAD" and not _says_why(answer):
        return f"{shown}: without a reason"
    return None


def _says_why(answer: Answer) -> bool:
    if (answer.header(b"content-type") or b"").startswith(b"application/xml"):
        return b"<Message>" in answer.body
    said = answer.json()
    return any(said.get(name) for name in ("detail", "message", "title", "error_description", "reasons"))


async def _answer(app: Any, request: Request, signed: Headers) -> Answer:
    """What the application answers to a request passed as `uvicorn` does: it splits and decodes targets like this."""
    path, _, query = request.target.partition("?")
    headers = [(b"host", b"offtake.example"), *signed, *request.headers]
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(request.body)))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": _only_one_host(headers),
        "client": ("192.0.2.1", 40_000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    parts = [{"type": "http.request", "body": request.body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if not parts:
            # The client waits for its answer, however long that takes.
            await asyncio.Event().wait()
        return parts.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert rest, "an answer without an end"
    assert not rest[-1].get("more_body"), "an answer without an end"
    return Answer(start["status"], tuple(start["headers"]), b"".join(one.get("body", b"") for one in rest))


def _only_one_host(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A server answers a request with two hosts itself: the last one is sent."""
    hosts = [index for index, (name, _) in enumerate(headers) if name == b"host"]
    return [pair for index, pair in enumerate(headers) if index not in hosts[:-1]]


@contextmanager
def world(folder: Path, engine: LocalEngine, database_url: str | None = None) -> Iterator[World]:
    """A world of its own in the folder."""
    store = {} if database_url is None else {"database_url": database_url}
    with deployment(folder / "data", FakeClock(NOON), engine, **store) as opened:
        # What the vendor's document says of answers is another test's matter.
        opened.http.event_hooks["response"].clear()
        # So is how long who has a wrong secret waits.
        opened.http.app.state.sign_ins = SignIns(per_minute=10, hold=0.0)
        yield _furnished(opened)


def play(
    opened: World, random: Random, draw: Callable[[World, Random], tuple[str, Awaitable[None]]], count: int
) -> None:
    """Draw and make requests until there were so many."""

    async def go() -> None:
        while opened.calls < count:
            opened.before.clear()
            opened.kind, deed = draw(opened, random)
            await deed

    run_in_place(go())


def _furnished(opened: Deployment) -> World:
    dataset = opened.import_rows("events", rows(0, 3))
    opened.flow(dataset, params={"includeFileManifest": True})
    opened.run_due()
    spare = {"name": "spare", "extensions": {"offtake": {"evolves": True}}}
    opened.post(f"{CATALOG}/dataSets", spare)
    opened.post(SANDBOXES, {"name": "dev", "title": "Development", "type": "development"}, 202)
    role = {"name": "r", "permissionSets": ["view-datasets"], "sandboxes": ["prod"], "description": "x"}
    opened.post(f"{ACCESS}/roles", role, 200)
    batch = opened.post(f"{IMPORT}/batches", {"datasetId": dataset, "inputFormat": {"format": "json"}})["id"]
    known = _known(opened, dataset, batch)
    accounts = _accounts(opened)
    signature = opened.http.get(f"{LANDING_ZONE}/credentials", params={"type": "dlz_destination"}).json()["SASToken"]
    signed = tuple(
        (name.lower().encode(), given.encode())
        for name, given in opened.http.headers.items()
        if name.lower().startswith(("authorization", "x-"))
    )
    return World(opened, _operations(opened), known, signed, _tokens(opened), signature, accounts)


def _known(opened: Deployment, dataset: str, batch: str) -> dict[str, list[str]]:
    """Ids by the step before them; the first of each kind is the one that all of it hangs on."""

    def listed(path: str, *within: str) -> Any:
        found: Any = opened.http.get(path).json()
        for step in within:
            found = found[step]
        return found

    kinds = ("connections", "sourceConnections", "targetConnections", "flows", "runs", "connectionSpecs", "flowSpecs")
    known = {kind: [one["id"] for one in listed(f"{FLOW_SERVICE}/{kind}", "items")] for kind in kinds}
    datasets = [dataset, *(one for one in listed(f"{CATALOG}/dataSets") if one != dataset)]
    imported = next(one for one in listed(f"{CATALOG}/batches") if one != batch)
    files = [one["dataSetFileId"] for one in listed(f"{EXPORT}/batches/{imported}/files", "data")]
    delivered = [str(path.relative_to(opened.zone)) for path in opened.zone.rglob("*") if path.is_file()]
    roles = [one["id"] for one in listed(f"{ACCESS}/roles", "items") if one["name"] == "r"]
    return known | {
        "dataSets": datasets,
        "datasets": datasets,
        "batches": [batch, imported],
        "files": [*files, "a.csv"],
        "sandboxes": ["dev"],
        "roles": roles,
        "products": ["offtake"],
        "dlz-destination": sorted(delivered),
        "dlz-user-container": sorted(delivered),
    }


def _accounts(opened: Deployment) -> dict[str, str]:
    """A connection with each way to log in, by its name. None is ever tried."""
    return {
        name: opened.post(
            "/connections",
            {
                "name": name,
                "connectionSpec": {"id": spec, "version": "1.0"},
                "auth": {"specName": method, "params": params},
            },
        )["id"]
        for name, (spec, method, params) in ACCOUNTS.items()
    }


def _tokens(opened: Deployment) -> list[str]:
    """Tokens that the server gave out: of a next page, of a query, of an export."""
    following = opened.get("/connections?limit=1")["_links"]["next"]["href"]
    events = opened.http.get(f"{AUDIT}/events", params={"property": "action==create", "limit": "1"}).json()
    export = opened.http.get(f"{AUDIT}/export", follow_redirects=False).headers["location"]
    return [following.rpartition("=")[2], events["queryId"], dict(parse_qsl(urlsplit(export).query))["sig"]]


def _operations(opened: Deployment) -> list[Operation]:
    document: Json = opened.http.get("/openapi.json").json()
    found = []
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            queries = tuple(one["name"] for one in said.get("parameters", []) if one["in"] == "query")
            content = said.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("example")
            found.append(Operation(method.upper(), path, queries, "application/json" in content, body))
    return found
