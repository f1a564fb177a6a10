"""The kinds of hostile requests to the API: each draws one and makes it."""

import re
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from tests.api.test_secrets import ACCOUNTS
from tests.deployment import FLOW_SERVICE
from tests.fuzz import grammar
from tests.fuzz.grammar import one_in
from tests.fuzz.world import ACCESS, CATALOG, Headers, Operation, Request, World

Kind = Callable[[World, Random], Awaitable[None]]

_STEP: Final = re.compile(r"\{(\w+)\}")
_UNKNOWN: Final = "00000000-0000-4000-8000-000000000000"
_JSON: Final = (b"content-type", b"application/json")
_TYPES: Final = (
    "application/merge-patch+json", "application/json; charset=utf-16", "application/json-patch+json", "text/plain",
    "", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x",
    "application/octet-stream", "APPLICATION/JSON;", "application/json\xff",
)  # fmt: skip
_COMMON: Final = ("property", "orderby", "orderBy", "limit", "start", "count", "continuationToken", "queryId", "x")
_PARAMETERS: Final = {
    "property": ("property",),
    "order": ("orderby",),
    "token": ("continuationtoken", "queryid", "marker", "sig"),
    "deed": ("op", "subop", "action"),
    "number": ("limit", "start", "offset", "count", "maxresults", "nrow", "createdafter", "createdbefore"),
}
_METHODS: Final = ("GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X")
_STEPS: Final = ("files", "datasets", "preview", "action", "dryRun", "meta", "labels", "test", "x")
_OPS: Final = (
    "enable",
    "disable",
    "cancel",
    "delete",
    "retry",
    "publish",
    "COMPLETE",
    "ABORT",
    "FAIL",
    "REVERT",
    "refresh",
    "",
)
_PATHS: Final = (
    "", "/", "/name", "/description", "/auth", "/auth/params", "/auth/params/x", "/encryption", "/params",
    "/params/path", "/params/datasets", "/params/datasets/0", "/params/datasets/-", "/params/includeFileManifest",
    "/scheduleParams", "/scheduleParams/startTime", "/scheduleParams/interval", "/scheduleParams/timeUnit",
    "/scheduleParams/endTime", "/scheduleParams/foldernameTemplate", "/labels", "/labels/-", "/labels/0", "/policy",
    "/policy/enforcementRefs/0", "/transformations", "/state", "/id", "/baseConnectionId", "/~2", "/~0", "/~1",
    "/a/b/c", "/sourceConnectionIds/0", "/targetConnectionIds", "/inheritedAttributes", "/\0", "/name/",
    "/labels/99999999999999999999", "/labels/-1", "/permissionSets", "/sandboxes", "/user",
    "/subjectAttributes/labels", "/scheduleParams/-",
)  # fmt: skip
_PATCH_OPS: Final = ("test", "move", "copy", "Add", "", None, 1, ["add"])
_GOOD_STEPS: Final[tuple[grammar.Json, ...]] = (
    {"op": "replace", "path": "/name", "value": "n"},
    {"op": "add", "path": "/description", "value": "d"},
    {
        "op": "replace",
        "path": "/scheduleParams",
        "value": {"interval": 6, "timeUnit": "hour", "startTime": 1_772_366_400},
    },
    {
        "op": "replace",
        "path": "/scheduleParams",
        "value": {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 1},
    },
    {"op": "replace", "path": "/scheduleParams/foldernameTemplate", "value": "%DATASET_ID%/%EXPORT_TIME(YYYY)%"},
    {"op": "add", "path": "/scheduleParams/endTime", "value": 1_788_240_660},
    {"op": "replace", "path": "/params", "value": {"path": "p", "datasetFileType": "PARQUET", "compression": "NONE"}},
    {"op": "replace", "path": "/params/path", "value": "a/b"},
    {
        "op": "add",
        "path": "/encryption",
        "value": {"specName": "file", "params": {"encryptionAlgo": "PGP", "publicKey": "x"}},
    },
    {"op": "replace", "path": "/auth/params", "value": {"s3AccessKey": "A", "s3SecretKey": "B"}},
    {"op": "add", "path": "/sourceConnectionIds", "value": ["x"]},
    {"op": "add", "path": "/transformations", "value": [{"name": "x", "params": {}}]},
    {"op": "add", "path": "/labels", "value": ["core/C1"]},
    {"op": "add", "path": "/permissionSets", "value": "view-sandboxes"},
    {"op": "replace", "path": "/sandboxes", "value": ["prod", "dev"]},
)
_PATCHED: Final = (
    *(f"{FLOW_SERVICE}/{kind}" for kind in ("connections", "sourceConnections", "targetConnections", "flows")),
    f"{ACCESS}/roles",
    f"{CATALOG}/dataSets",
)


def _path(world: World, random: Random, operation: Operation) -> str:
    """The operation's path, mostly of something that is there."""

    def step(match: re.Match[str]) -> str:
        kind = operation.path[: match.start()].rstrip("/").rpartition("/")[2]
        made = world.made.get(kind, [])
        known = world.known.get(kind, []) if operation.is_harmless else []
        if made and (one_in(random, 3) or not known) and not operation.path.endswith(("/test", "/explore")):
            return quote(random.choice(made))
        if known and not one_in(random, 6):
            return quote(random.choice(known))
        return _UNKNOWN if one_in(random, 3) else grammar.escaped(random, grammar.text(random))[:3000]

    return _STEP.sub(step, operation.path)


def _parameter(world: World, random: Random, name: str) -> str:
    """A value of the query parameter of that name; not always one of its kind."""
    kind = next((kind for kind, names in _PARAMETERS.items() if name.lower() in names), "text")
    if one_in(random, 8):
        kind = "text"
    usual = ("true", "*", "dlz_destination", "id")
    made: dict[str, Callable[[], str]] = {
        "property": lambda: grammar.expression(random),
        "order": lambda: grammar.order(random),
        "token": lambda: grammar.token(random, world.given_out),
        "deed": lambda: random.choice(_OPS),
        "number": lambda: random.choice((str(grammar.number(random)), "1", "10", "true", "+1", " 1")),
        "text": lambda: grammar.text(random) if one_in(random, 2) else random.choice(usual),
    }
    return made[kind]()


def _query(world: World, random: Random, operation: Operation) -> str:
    names = operation.queries or _COMMON
    wanted = [random.choice(names if not one_in(random, 8) else _COMMON) for _ in range(random.randrange(4))]
    return grammar.query(random, [(name, _parameter(world, random, name)) for name in wanted])


def _target(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _etag(random: Random) -> tuple[bytes, bytes]:
    return b"if-match", b"*" if not one_in(random, 8) else random.choice((b"", b'"x"', b"W/*", b'"', b"a,b", b"\xff"))


async def _made(world: World, request: Request) -> None:
    world.remember(request, await world.call(request))


async def read(world: World, random: Random) -> None:
    """Something to read, with damaged filters, orders, limits and tokens."""
    operation = random.choice([one for one in world.operations if one.method == "GET" and "dlz-" not in one.path])
    target = _target(_path(world, random, operation), _query(world, random, operation))
    await world.call(Request("GET", target))


async def search(world: World, random: Random) -> None:
    """A search with a damaged query."""
    path = f"{FLOW_SERVICE}/{random.choice(('connections', 'flows', 'flowSpecs'))}/search"
    good = {
        "queryString": "&".join(grammar.expression(random) for _ in range(random.randrange(4))),
        "limit": grammar.number(random) if one_in(random, 2) else 5,
        "orderby": grammar.order(random),
        "count": one_in(random, 4),
        "projectionFields": "id,name",
    }
    body = {name: given for name, given in good.items() if name == "queryString" or one_in(random, 3)}
    sent = body if one_in(random, 2) else grammar.damaged(random, body)
    query = (
        grammar.query(random, [("continuationToken", grammar.token(random, world.given_out))])
        if one_in(random, 5)
        else ""
    )
    await world.call(Request("POST", _target(path, query), (_JSON,), grammar.as_json(random, sent)))


async def patch(world: World, random: Random) -> None:
    """A patch of something that is there."""
    place = random.choice(_PATCHED)
    kind = place.rpartition("/")[2]
    ids = world.made.get(kind, []) if one_in(random, 2) else []
    steps: Any = [_patch_step(random) for _ in range(random.choice((1, 1, 2, 3)))]
    if one_in(random, 2):
        step = random.choice(_GOOD_STEPS)
        value = grammar.damaged(random, step["value"])
        steps = [grammar.damaged(random, step) if one_in(random, 4) else {**step, "value": value}]
    elif one_in(random, 8):
        steps = grammar.rarely_deep(random)
    if kind == "roles" or one_in(random, 12):
        steps = steps[0] if isinstance(steps, list) and steps else steps
    target = f"{place}/{quote(random.choice(ids or world.known[kind]))}"
    await world.call(Request("PATCH", target, (_JSON, _etag(random)), grammar.as_json(random, steps)))


def _patch_step(random: Random) -> grammar.Json:
    """An operation on anything, with any value."""
    step: grammar.Json = {
        "op": random.choice(("add", "replace", "remove")) if not one_in(random, 8) else random.choice(_PATCH_OPS),
        "path": random.choice(_PATHS) if not one_in(random, 8) else grammar.text(random),
    }
    if not one_in(random, 4):
        step["value"] = grammar.rarely_deep(random)
    if one_in(random, 10):
        step["from"] = random.choice(_PATHS)
    return step


async def body(world: World, random: Random) -> None:
    """A body that is right but for some of its values, or no such body at all."""
    operation = random.choice([one for one in world.operations if one.takes_body and "sandboxes/{" not in one.path])
    kind = _JSON if not one_in(random, 15) else (b"content-type", random.choice(_TYPES).encode("latin-1"))
    if one_in(random, 12):
        sent = random.choice(grammar.RAW_BODIES)
    else:
        good = world.body_of(operation) or {"name": "x", "connectionSpec": {"id": _UNKNOWN, "version": "1.0"}}
        sent = grammar.as_json(random, grammar.damaged(random, good))
    target = _target(_path(world, random, operation), _query(world, random, operation) if one_in(random, 10) else "")
    await _made(world, Request(operation.method, target, (kind, _etag(random)), sent))


async def account(world: World, random: Random) -> None:
    """A damaged connection to a destination with credentials, or a damaged location there. It is never used."""
    name = random.choice(sorted(ACCOUNTS))
    spec, method, params = ACCOUNTS[name]
    ref = {"id": spec, "version": "1.0"}
    good: grammar.Json = {"name": "c", "connectionSpec": ref, "auth": {"specName": method, "params": params}}
    kind = "connections"
    if one_in(random, 2):
        kind = "targetConnections"
        place = {"mode": "Server-to-server", "compression": "GZIP", "datasetFileType": "JSON", **_PLACES[name]}
        good = {"name": "t", "connectionSpec": ref, "baseConnectionId": world.accounts[name], "params": place}
    sent = grammar.as_json(random, grammar.damaged(random, good))
    await _made(world, Request("POST", f"{FLOW_SERVICE}/{kind}", (_JSON,), sent))


async def action(world: World, random: Random) -> None:
    """An action, or a deletion, of something that another request made."""
    operation = random.choice([one for one in world.operations if not one.is_harmless and _removes_only_made(one)])
    target = _target(_path(world, random, operation), _query(world, random, operation))
    await world.call(Request(operation.method, target, (_etag(random),)))


def _removes_only_made(operation: Operation) -> bool:
    """Not the landing zone's: a new signature would end the one that others use."""
    return "{" in operation.path and "dlz-" not in operation.path


async def path(world: World, random: Random) -> None:
    """A call of something that is not there."""
    begin = random.choice(world.operations).path.partition("{")[0].rstrip("/")
    ending = (random.choice(_STEPS) if one_in(random, 2) else grammar.text(random) for _ in range(random.randrange(5)))
    target = "/".join([begin, *(grammar.escaped(random, one) for one in ending)])[:3000]
    method = random.choice(_METHODS)
    await world.call(Request(method, target or "/"))


async def head(world: World, random: Random) -> None:
    """A call that is right but for its headers."""
    operation = random.choice([one for one in world.operations if one.is_harmless and "sandboxes/{" not in one.path])
    headers = dict(world.signed)
    for _ in range(random.choice((1, 1, 2))):
        name = random.choice(_HEADERS)
        if name in headers and one_in(random, 3):
            del headers[name]
        elif name == b"authorization" and not one_in(random, 4):
            good = dict(world.signed)[name].decode().partition(" ")[2]
            headers[name] = b"Bearer " + grammar.header(grammar.json_web_token(random, good))
        else:
            headers[name] = grammar.header(random.choice((grammar.text, _header_value))(random))
    sent = grammar.as_json(random, world.body_of(operation)) if operation.takes_body else b""
    kind: Headers = (_JSON,) if operation.takes_body and b"content-type" not in headers else ()
    await _made(
        world, Request(operation.method, _path(world, random, operation), (*headers.items(), *kind), sent, signed=False)
    )


def _header_value(random: Random) -> str:
    return random.choice(_HEADER_VALUES)


async def sign_in(world: World, random: Random) -> None:
    """A sign-in without what it takes."""
    admin = world.deployed.admin
    form = {"grant_type": "client_credentials", "client_id": admin.client_id, "client_secret": admin.client_secret}
    for _ in range(random.choice((0, 1, 1, 2))):
        name = random.choice([*form, "scope"])
        if name in form and one_in(random, 3):
            del form[name]
        else:
            form[name] = grammar.text(random)
    sent = urlencode({name: given.encode("utf-8", "surrogatepass") for name, given in form.items()}).encode()
    kind = b"application/x-www-form-urlencoded"
    query = ""
    if one_in(random, 4):
        sent, query = b"", sent.decode()
    if one_in(random, 5):
        sent = grammar.cut(random, sent) if one_in(random, 2) else random.choice(grammar.RAW_BODIES)
    if one_in(random, 5):
        kind = random.choice(_TYPES).encode("latin-1")
    target = _target(f"/ims/token/v{random.choice((2, 3))}", query)
    await world.call(Request("POST", target, ((b"content-type", kind),), sent, signed=False))


async def blob(world: World, random: Random) -> None:
    """A call of the landing zone, with a damaged signature, range, condition or marker."""
    container = "dlz-destination" if not one_in(random, 8) else "dlz-user-container"
    known = world.known[container]
    name = "" if one_in(random, 3) else random.choice(known) if random.random() < 0.7 else grammar.text(random)
    parameters = parse_qsl(world.signature)
    for _ in range(random.choice((0, 0, 0, 0, 1, 2))):
        index = random.randrange(len(parameters))
        parameters[index] = (parameters[index][0], grammar.text(random))
    if not name and not one_in(random, 6):
        parameters += [("restype", "container"), ("comp", "list")]
    extra = random.choices(
        ("prefix", "marker", "maxresults", "delimiter", "comp", "restype", "snapshot"), k=random.randrange(3)
    )
    parameters += [(one, "/" if one == "delimiter" else _parameter(world, random, one)) for one in extra]
    headers = [
        (random.choice(_BLOB_HEADERS), grammar.header(random.choice((grammar.text, _header_value))(random)))
        for _ in range(random.randrange(3))
    ]
    method = random.choice(("GET", "GET", "GET", "HEAD", "PUT", "POST"))
    account = "" if not one_in(random, 8) else f"/{grammar.escaped(random, grammar.text(random)[:50])}"
    path = "/".join([f"{account}/{container}", *([grammar.escaped(random, name)] if name else [])])
    await world.call(
        Request(method, _target(path[:3000], grammar.query(random, parameters)), tuple(headers), signed=False)
    )


_HEADERS: Final = (
    b"authorization", b"authorization", b"x-api-key", b"x-gw-ims-org-id", b"x-sandbox-name", b"x-sandbox-id",
    b"x-request-id", b"host", b"content-type", b"content-length", b"if-match", b"if-none-match", b"range", b"accept",
    b"accept-encoding", b"cookie", b"origin", b"x-forwarded-for", b"x-forwarded-host", b"content-range", b"expect",
    b"transfer-encoding", b"upgrade", b"x-http-method-override", b"content-encoding", b"prefer",
)  # fmt: skip
_BLOB_HEADERS: Final = (
    b"range", b"x-ms-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
    b"x-ms-version", b"x-request-id", b"host", b"x-ms-date", b"content-length",
)  # fmt: skip
_HEADER_VALUES: Final = (
    "*", "prod", "dev", "gzip, br;q=1.0", "bytes=0-", "bytes=-1", "bytes=5-2", "bytes=0-0,2-3",
    "bytes=99999999999999999999-", "bytes=0-999999999999999999", "bytes 0-1/2", "bytes 0-99999999999/*", "Bearer",
    "Bearer ", "Basic eDp4", "bearer a.b.c", "0", "-1", "1e3", "9" * 30, "chunked", "100-continue", "[::1]", "[", "]",
    "[::1", "a:b:c", "example:99999", "example:-1", "@", "a@b", "host/../x", "xn--", "é", "0.0.0.0:80",
    "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359",
    "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 99 Foo 99999 99:99:99", "1", "\x80", "01 Jan 10000 00:00:00 GMT", "W/\"x\"",
    "\"x\", \"y\"", "application/json;q=x", "text/html", "::ffff:1.2.3.4",
)  # fmt: skip
_PLACES: Final[dict[str, grammar.Json]] = {
    "s3": {"bucketName": "b", "path": "p"},
    "role": {"bucketName": "b", "path": "p"},
    "blob": {"container": "c", "path": "p"},
    "adls": {"path": "p"},
    "gcs": {"bucketName": "b", "path": "p"},
    "sftp": {"remotePath": "p"},
    "key": {"remotePath": "p"},
}
KINDS: Final[dict[Kind, int]] = {
    read: 20, search: 8, patch: 18, body: 20, account: 6, action: 4, path: 8, head: 8, sign_in: 3, blob: 5,
}  # fmt: skip
"""How many of a hundred requests are of each kind."""
