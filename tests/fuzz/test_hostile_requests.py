"""Requests by a grammar of what goes wrong: damaged tokens, filters, patches and bodies, on both databases.

Nothing is answered with a 5xx, and every refusal says why. `OFFTAKE_FUZZ_REQUESTS` says how many requests are made
(`make fuzz` makes 100,000).
"""

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from offtake.clock import MovedClock
from offtake.engines.local import LocalEngine
from tests.conftest import NOON
from tests.deployment import LAKE, ZONE, ZONE_FLOW, Deployment, deployment, rows
from tests.postgres import new_database

REQUESTS = int(os.environ.get("OFFTAKE_FUZZ_REQUESTS", "2000"))
FLOW_SERVICE = "/data/foundation/flowservice"
CATALOG = "/data/foundation/catalog"
IMPORT = "/data/foundation/import"
ACCESS = "/data/foundation/access-control/administration"
AUDIT = "/data/foundation/audit/events"
ADHOC = "/data/core/activation/disflowprovider/adhocrun"
LISTS = [
    *(f"{FLOW_SERVICE}/{kind}" for kind in ("connections", "sourceConnections", "targetConnections", "flows", "runs")),
    f"{CATALOG}/dataSets",
    f"{CATALOG}/batches",
    f"{ACCESS}/roles",
    "/data/foundation/sandbox-management/sandboxes",
    AUDIT,
]
PATHS = [
    "", "/", "/name", "/description", "/auth", "/auth/params", "/auth/params/x", "/encryption", "/params",
    "/params/path",
    "/params/datasets", "/params/datasets/0", "/params/datasets/-", "/scheduleParams", "/scheduleParams/startTime",
    "/scheduleParams/interval", "/scheduleParams/foldernameTemplate", "/labels", "/labels/-", "/labels/0", "/policy",
    "/policy/enforcementRefs/0", "/transformations", "/state", "/id", "/baseConnectionId", "/~2", "/a/b/c",
    "/sourceConnectionIds/0", "/targetConnectionIds", "/inheritedAttributes", "/\0", "/name/",
    "/labels/99999999999999999999",
]  # fmt: skip

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "\0", "a\0b", "\ud800", "x" * 5000, "%", "*", "../..", "é" * 300, "$" + "{x}", "'; drop", "￾"]
    ),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    texts,
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
words = st.sampled_from(
    ["id", "name", "createdAt", "updatedAt", "state", "flowId", "metrics.x", "status", "a.b", "", "\0"]
)
signs = st.sampled_from(["==", "!=", ">", "<", ">=", "<=", "=~", "~", "=", "", "==="])
expressions = st.builds(
    lambda word, sign, given: f"{word}{sign}{given}",
    words,
    signs,
    st.one_of(texts, st.integers().map(str), st.just("^(a+)+$")),
)
tokens = st.one_of(
    texts,
    st.builds(
        lambda document: urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("="),
        st.one_of(
            values,
            st.fixed_dictionaries(
                {"l": values | st.just(10), "p": values | st.just([]), "o": texts | st.just("-updatedAt"), "a": values}
            ),
        ),
    ),
)
raw_bodies = st.sampled_from(
    [b"", b"[]", b"null", b"1", b'"x"', b"{", b"[" * 50_000, b'{"a":' * 20_000, b'{"name":1e999}', b"\xff",
     b'{"name":NaN}',
     b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b'{"a":' + b"9" * 5000 + b"}"]
)  # fmt: skip


class Fuzzed:
    """A deployment with one thing of each kind, and what requests refer to."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed
        self.dataset = deployed.import_rows("events", rows(0, 3))
        self.flow = deployed.flow(self.dataset)
        deployed.run_due()
        self.ids = {
            kind: deployed.get(f"/{kind}")["items"][0]["id"]
            for kind in ("connections", "sourceConnections", "targetConnections", "flows", "runs")
        }

    def bodies(self) -> dict[str, dict[str, Any]]:
        """Bodies that are right, by the path that they are sent to."""
        ids, zone = self.ids, {"id": ZONE, "version": "1.0"}
        lake = {"id": LAKE, "version": "1.0"}
        return {
            f"{FLOW_SERVICE}/connections": {"name": "z", "connectionSpec": zone, "auth": {}, "encryption": {}},
            f"{FLOW_SERVICE}/sourceConnections": {
                "name": "s",
                "connectionSpec": lake,
                "params": {"datasets": [{"dataSetId": self.dataset}]},
            },
            f"{FLOW_SERVICE}/targetConnections": {
                "name": "t",
                "baseConnectionId": ids["connections"],
                "connectionSpec": zone,
                "params": {"path": "e", "datasetFileType": "JSON", "compression": "GZIP"},
            },
            f"{FLOW_SERVICE}/flows": {
                "name": "f",
                "flowSpec": {"id": ZONE_FLOW, "version": "1.0"},
                "sourceConnectionIds": [ids["sourceConnections"]],
                "targetConnectionIds": [ids["targetConnections"]],
                "transformations": [],
                "scheduleParams": {"exportMode": "FIRST_FULL_THEN_INCREMENTAL", "timeUnit": "hour", "interval": 3},
            },
            f"{FLOW_SERVICE}/runs": {"flowId": ids["flows"], "metrics": {}},
            f"{CATALOG}/dataSets": {
                "name": "d",
                "tags": {},
                "schemaRef": {},
                "extensions": {"offtake": {"columns": []}},
            },
            f"{IMPORT}/batches": {"datasetId": self.dataset, "inputFormat": {"format": "csv", "delimiter": ";"}},
            f"{ACCESS}/roles": {"name": "r", "permissionSets": [], "sandboxes": ["prod"], "description": "x"},
            "/data/foundation/sandbox-management/sandboxes": {"name": "s", "title": "S", "type": "development"},
            "/data/core/activation/disflowprovider/adhocrun": {
                "activationInfo": {"destinations": [{"flowId": self.flow}]}
            },
        }

    def call(self, method: str, path: str, **more: Any) -> None:
        """Make a request; what is answered is a success, or a refusal that says why."""
        answer = self.deployed.http.request(method, path, **more)
        assert answer.status_code < 500, (method, path, str(more)[:500], answer.text[:500])
        if answer.status_code >= 400:
            body = answer.json()
            assert body.get("detail") or body.get("message") or body.get("title"), answer.text[:500]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine
) -> Iterator[Fuzzed]:
    store = {} if request.param == "sqlite" else {"database_url": new_database(request.getfixturevalue("postgres"))}
    with deployment(tmp_path_factory.mktemp("fuzzed") / "data", MovedClock(NOON), engine, **store) as opened:
        # What the vendor's document says of answers is another test's matter.
        opened.http.event_hooks["response"].clear()
        yield Fuzzed(opened)


@st.composite
def lists(draw: st.DrawFn, fuzzed: Fuzzed) -> Callable[[], None]:
    """A list with damaged filters, orders, limits and tokens."""
    names = [
        "property",
        "orderby",
        "orderBy",
        "limit",
        "start",
        "continuationToken",
        "count",
        "name",
        "properties",
        "id",
    ]
    parameters = draw(st.lists(st.tuples(st.sampled_from(names), st.one_of(expressions, tokens, texts)), max_size=4))
    parameters += draw(st.lists(st.tuples(st.just("continuationToken"), tokens), max_size=1))
    path = draw(st.sampled_from(LISTS))
    sent = [(name, value.encode("utf-8", "surrogatepass")) for name, value in parameters]
    return lambda: fuzzed.call("GET", path, params=sent)


@st.composite
def searches(draw: st.DrawFn, fuzzed: Fuzzed) -> Callable[[], None]:
    """A search with a damaged query."""
    kind = draw(st.sampled_from(["connections", "flows", "flowSpecs"]))
    query = "&".join(f"property={one}" for one in draw(st.lists(expressions, max_size=4)))
    body = draw(st.one_of(st.fixed_dictionaries({"queryString": st.just(query)}), values))
    return lambda: _send(fuzzed, "POST", f"{FLOW_SERVICE}/{kind}/search", body)


@st.composite
def patches(draw: st.DrawFn, fuzzed: Fuzzed) -> Callable[[], None]:
    """A patch of something that is there."""
    kind = draw(st.sampled_from(["connections", "sourceConnections", "targetConnections", "flows"]))
    steps = st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "replace", "remove", "test", "move", "copy", "Add", ""]),
            "path": st.one_of(st.sampled_from(PATHS), texts),
        },
        optional={"value": values, "from": st.sampled_from(PATHS)},
    )
    body = draw(st.one_of(st.lists(steps, max_size=3), values))
    etag = draw(st.sampled_from(["*", "", '"x"', "\0".strip("\0"), "W/*"]))
    return lambda: _send(fuzzed, "PATCH", f"{FLOW_SERVICE}/{kind}/{fuzzed.ids[kind]}", body, {"If-Match": etag})


@st.composite
def creations(draw: st.DrawFn, fuzzed: Fuzzed) -> Callable[[], None]:
    """A body that is right but for one of its values, or no such body at all."""
    good = fuzzed.bodies()
    path = draw(st.sampled_from(sorted(good)))
    raw = draw(st.none() | raw_bodies)
    if raw is not None:
        kind = {"Content-Type": "application/json"}
        return lambda: fuzzed.call("POST", path, content=raw, headers=kind)
    body = draw(st.builds(_with_damage, st.just(good[path]), st.randoms(use_true_random=False), values))
    return lambda: _send(fuzzed, "POST", path, body)


@st.composite
def paths(draw: st.DrawFn, fuzzed: Fuzzed) -> Callable[[], None]:
    """A call of something that is not there, under an id that nothing has."""
    prefix = draw(
        st.sampled_from([*LISTS, f"{IMPORT}/batches", "/data/foundation/export/batches", f"{FLOW_SERVICE}/x"])
    )
    ending = "/".join(draw(st.lists(texts | st.sampled_from(["files", "datasets", "preview", "action"]), max_size=4)))
    encoded = "".join(f"%{byte:02x}" for byte in ending.encode("utf-8", "surrogatepass"))[:3000]
    method = draw(st.sampled_from(["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"]))
    return lambda: _call_by_path(fuzzed, method, f"{prefix}/{encoded}")


GRAMMAR = {"lists": lists, "searches": searches, "patches": patches, "creations": creations, "paths": paths}


@pytest.mark.parametrize("kind", GRAMMAR)
def test_hostile_requests_are_refused_and_nothing_breaks(fuzzed: Fuzzed, kind: str) -> None:
    @given(request=GRAMMAR[kind](fuzzed))
    @settings(
        max_examples=REQUESTS // (2 * len(GRAMMAR)),
        suppress_health_check=list(HealthCheck),
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
    )
    def sent(request: Callable[[], None]) -> None:
        request()

    sent()


def _send(fuzzed: Fuzzed, method: str, path: str, body: Any, headers: dict[str, str] | None = None) -> None:
    kind = {"Content-Type": "application/json", **(headers or {})}
    fuzzed.call(method, path, content=json.dumps(body).encode(), headers=kind)


def _call_by_path(fuzzed: Fuzzed, method: str, path: str) -> None:
    answer = fuzzed.deployed.http.request(method, path)
    assert answer.status_code < 500, (method, path, answer.text[:500])


def _with_damage(good: dict[str, Any], random: Any, value: Any) -> dict[str, Any]:
    """The body with one value, at any depth, replaced, added or taken away."""
    made = json.loads(json.dumps(good))
    at = made
    while True:
        name = random.choice([*at, "x"]) if isinstance(at, dict) else random.randrange(len(at))
        below = at.get(name) if isinstance(at, dict) else at[name]
        if isinstance(below, dict | list) and below and random.random() < 0.6:
            at = below
            continue
        if isinstance(at, dict) and random.random() < 0.15:
            at.pop(name, None)
        else:
            at[name] = value
        return dict(made)
