"""Bad documents, interruptions, and servers that are not as expected."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.client.server import Server
from offtake.client.transport import Answer, Receive, Request
from tests.cli.applying import WAYS, Applying, applying
from tests.cli.ways import listening, sign_in
from tests.deployment import Deployment, rows

pytestmark = pytest.mark.matrix(one_in=2)

ZONE = "kind: connection\nname: zone\ndestination: landing-zone\n---\n"
FLOW = "kind: flow\nname: f\ndataset: events\nto: zone\npath: out\nformat: json\nevery: 3h\n"
SFTP = (
    "kind: connection\nname: s\ndestination: sftp\nauth: password\nparams: {domain: h, username: u, password: env:P}\n"
)
S3 = "kind: connection\nname: s\ndestination: s3\nauth: access-key\nparams: {s3AccessKey: k, s3SecretKey: env:P}\n"
HOOK = "kind: alert-channel\nname: h\ntype: webhook\nsettings: {url: 'https://h.example.org', secret: env:P}\n"
RULE = "kind: alert-rule\nname: r\nchannels: [h]\n"
CATALOG = "kind: catalog\nname: c\ntype: rest\nproperties: {uri: https://c.example.org, token: env:P}\n"


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest,
    deployed: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Applying]:
    monkeypatch.setenv("P", "a-secret-of-a-test")
    deployed.import_rows("events", rows(0, 1))
    with applying(request.param, deployed, tmp_path, capsys, monkeypatch) as found:
        yield found


BAD: list[tuple[str, str]] = [
    ("", "The files have no documents."),
    ("a: [", "documents.yaml:2: is not valid YAML"),
    (ZONE + FLOW.replace("to: zone", "to: zoen"), "refers to the connection zoen, which is neither declared nor on"),
    (ZONE + FLOW.replace("events", "evens"), "dataset refers to the dataset evens"),
    (ZONE + FLOW.replace("3h", "5h"), "every is not a period of this server; it has 3h, 6h, 8h, 9h, 12h, 24h"),
    (ZONE + FLOW.replace("3h", "3 hours"), "every '3 hours' is not a period such as 3h or 1d"),
    (ZONE + FLOW.replace("every: 3h", "daily: 25:00"), "daily '25:00' is not a time of day"),
    (ZONE + FLOW + "start: soon", "start 'soon' is not a date or time"),
    (ZONE + FLOW + "start: 2030-01-02\nend: 2030-01-01", "end must be later than start"),
    (ZONE + FLOW + "bucket: b", "bucket is not for landing-zone"),
    (ZONE + FLOW + "params: {pat: x}", "params.pat is unknown; did you mean path?"),
    (ZONE + FLOW + "params: {path: x}", "params.path is the field path"),
    (ZONE + FLOW + "params: {parquetEncoding: odd}", "params.parquetEncoding must be"),
    (ZONE + FLOW.replace("path: out\n", ""), "path is required"),
    (ZONE + FLOW + "folder: '%NOPE%'", "folder has the unknown macro"),
    (ZONE.replace("landing-zone", "sftpp"), "destination 'sftpp' is not a destination; did you mean sftp?"),
    (ZONE.replace("---", "params: {a: b}\n---"), "params is not for landing-zone"),
    (SFTP.replace("auth: password\n", ""), "auth is required: one of password, ssh-key"),
    (SFTP.replace("auth: password", "auth: passwrd"), "auth 'passwrd' is unknown; did you mean password?"),
    (SFTP.replace("domain", "domian"), "params.domian is unknown; did you mean domain?"),
    (SFTP.replace("env:P", "P4ssw0rd"), "params.password is a secret; give env:NAME"),
    (SFTP.replace("env:P", "env:ABSENT"), "params.password cannot be read: the environment has no variable ABSENT"),
    (SFTP.replace("env:P", "file:absent"), "params.password cannot be read"),
    (SFTP.replace("env:P", "'prompt:'"), "params.password cannot be asked for: there is no terminal to ask on"),
    (S3.replace("s3AccessKey: k, ", ""), "params.s3AccessKey is required"),
    (CATALOG.replace("env:P", "t0ken"), "properties.token is a secret; give env:NAME"),
    (CATALOG.replace("uri", "url"), "properties.url is unknown; did you mean uri?"),
    (CATALOG.replace("rest", "rets"), "type must be"),
    ("kind: role\nname: r\npermissions: [view-dataset]", "is not a permission; did you mean view-datasets?"),
    ("kind: client\nname: c", "secretTo is required"),
    ("kind: client\nname: c\nexternal: true", "id is required"),
    ("kind: client\nname: c\nroles: [nope]\nsecretTo: file:x", "roles.0 refers to the role nope"),
    ("kind: dataset\nname: d\ncatalog: c", "catalog and table (or metadata) belong together"),
    ("kind: dataset\nname: d\ncatalog: c\ntable: a.b", "refers to the catalog c"),
    (HOOK.replace("env:P", "t0ken"), "documents.yaml:4: alert-channel h: settings.secret is a secret; give env:NAME"),
    (HOOK.replace(", secret: env:P", ""), "settings.secret is required: a generated one would be shown nowhere"),
    (HOOK.replace("url", "urll"), "settings.urll is unknown; did you mean url?"),
    (HOOK.replace("https://h.example.org", "ftp://h"), "settings.url must be a URL that starts with https://"),
    (HOOK.replace("'https://h.example.org'", "[a]"), "settings.url must be text"),
    (HOOK.replace("webhook", "webhok"), "documents.yaml:3: alert-channel h: type must be 'webhook', 'email'"),
    (RULE, "documents.yaml:3: alert-rule r: channels.0 refers to the alert-channel h, which is neither declared nor"),
    (HOOK + "---\n" + RULE + "flow: f", "flow refers to the flow f, which is neither declared nor on the server"),
    (HOOK + "---\n" + RULE + "topics: [late, faild]", "topics.1 'faild' is not a topic; did you mean failed?"),
    (HOOK + "---\n" + RULE + "topics: [late, late]", "topics has late twice"),
    (HOOK + "---\n" + RULE + "repeatSeconds: 5", "documents.yaml:9: alert-rule r: repeatSeconds must be"),
    (ZONE + ZONE, "name is that of another document already"),
    (ZONE + FLOW + "id: &a\n  - *a", "the alias *a contains itself"),
]


def test_bad_documents_change_nothing(way: Applying, deployed: Deployment) -> None:
    deployed.sign_in()
    before = deployed.http.get("/data/foundation/audit/events?limit=1").json()["_embedded"]
    wrong = []
    for text, expected in BAD:
        error = way.refused(text)
        if expected not in error or "P4ssw0rd" in error or "t0ken" in error:
            wrong.append((text, expected, error))
    assert wrong == []
    assert deployed.http.get("/data/foundation/audit/events?limit=1").json()["_embedded"] == before
    assert deployed.get("/flows")["items"] == []


def test_an_ambiguous_name_on_the_server_needs_an_id(way: Applying, deployed: Deployment) -> None:
    ids = [deployed.post("/connections", {"name": "zone"})["id"] for _ in range(2)]
    error = way.refused(ZONE)
    assert "connection zone: name is the name of 2 connections on the server" in error
    assert all(one in error for one in ids)
    assert "zone: is the name of 2 connections" in way.refused(FLOW)
    way.apply(ZONE.replace("---", f"id: {ids[0]}\n---") + FLOW)
    assert way.actions(ZONE.replace("---", f"id: {ids[0]}\n---") + FLOW)["flow f"] == "nothing"
    exported = way.export()
    assert all(f"id: {one}\n" in exported for one in ids)
    assert f"to: {ids[0]}" in exported
    assert set(way.actions(exported).values()) == {"nothing"}
    twice = ZONE.replace("---", f"id: {ids[0]}\n---") + ZONE.replace("---", f"id: {ids[0]}\n---")
    assert "id is that of another document already" in way.refused(twice)


def test_columns_that_a_server_would_ignore_are_not_delivered(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Server.send

    def without_columns(self: Server, request: Request, receive: Receive | None = None) -> Answer:
        if request.method == "POST" and request.path.endswith("/sourceConnections"):
            body = json.loads(bytes(request.content or b""))  # type: ignore[arg-type]
            body["params"].pop("columns", None)
            request = Request("POST", request.path, content=json.dumps(body).encode(), headers=request.headers)
        return send(self, request, receive)

    monkeypatch.setattr(Server, "send", without_columns)
    error = way.refused(ZONE + FLOW + "columns: [id]")
    assert "ignores the choice of columns" in error
    assert deployed.get("/flows")["items"] == []
    assert deployed.get("/sourceConnections")["items"] == []


class Cut(BaseException):
    """The end of the process, as far as the commands see."""


def test_apply_can_be_cut_off_after_any_request_and_repeated(
    way: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ZONE + FLOW + "---\n" + FLOW.replace("name: f", "name: g") + "state: disabled\nend: never\nlabels: [x]\n"
    send, writes, most = Server.send, 0, 0

    def cut_off(self: Server, request: Request, receive: Receive | None = None) -> Answer:
        nonlocal writes
        answer = send(self, request, receive)
        writes += request.method != "GET"
        if writes > most:
            raise Cut
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Server, "send", cut_off)
        file = way.write(text)
        while True:
            writes = 0
            try:
                code = main(["apply", "-f", file, "--yes", "--set", "a", *way.option])
            except Cut:
                most += 1 if writes > most and most < 3 else 0
                continue
            assert code == 0
            break
    assert set(way.actions(text, "--set", "a", "--prune").values()) == {"nothing"}
    assert len(deployed.get("/flows")["items"]) == 2
    assert len(deployed.get("/targetConnections")["items"]) == 2
    assert len(deployed.get("/sourceConnections")["items"]) == 1
    assert len(way.export().split("---\n")) == 4


def test_a_killed_process_is_repeated(deployed: Deployment, tmp_path: Path) -> None:
    """A real kill, of the command in a process of its own."""
    deployed.import_rows("events", rows(0, 1))
    text = ZONE + "---\n".join(FLOW.replace("name: f", f"name: f{number}") for number in range(40))
    (file := tmp_path / "documents.yaml").write_text(text)
    data_dir = str(deployed.backend.settings.data_dir)
    command = [sys.executable, "-m", "offtake", "apply", "-f", str(file), "--yes", "--data-dir", data_dir]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("flow f9:"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    assert 9 < len(deployed.get("/flows?limit=100")["items"]) < 40
    subprocess.run(command, check=True, capture_output=True, timeout=90)
    assert len(deployed.get("/flows?limit=100")["items"]) == 40
    assert len(deployed.get("/targetConnections?limit=100")["items"]) == 40
    done = subprocess.run(
        [*command[:3], "diff", *command[4:6], *command[7:]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Plan: 41 unchanged.\n")


@pytest.fixture
def far(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Applying]:
    deployed.import_rows("events", rows(0, 1))
    with applying(WAYS[1], deployed, tmp_path, capsys, monkeypatch) as found:
        yield found


def test_a_token_that_expires_meanwhile_is_renewed(
    far: Applying, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = Server.send, list[str]()

    def slowly(self: Server, request: Request, receive: Receive | None = None) -> Answer:
        sent.append(request.method)
        if request.method == "POST":
            deployed.clock.advance(seconds=2 * 86_400)
        return send(self, request, receive)

    monkeypatch.setattr(Server, "send", slowly)
    far.apply(ZONE + FLOW)
    assert sent.count("POST") == 4
    deployed.sign_in()
    assert len(deployed.get("/flows")["items"]) == 1


class Without:
    """An application without the paths that match: as a server without extensions."""

    def __init__(self, app: Any, paths: str) -> None:
        self._app, self._paths = app, re.compile(paths)
        self.requests: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        self.requests.append(f"{scope.get('method')} {path}")
        if not self._paths.search(path):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"no such page"})


def test_a_server_without_extensions_applies_the_rest_and_says_what_is_missing(
    deployed: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployed.import_rows("events", rows(0, 1))
    monkeypatch.setenv("P", "a-secret-of-a-test")
    with applying(WAYS[1], deployed, tmp_path, capsys, monkeypatch) as way:
        app = Without(deployed.http.app, "managedResources|lakeCatalogs|administration/clients")
        with listening(app) as url:
            sign_in(deployed, url, monkeypatch)
            way.option = ("--server", url)
            way.apply(ZONE + FLOW + "---\n" + S3)
            code, out, err = way.run("diff", "-f", way.write(ZONE + FLOW + "---\n" + S3))
            assert (code, "3 unchanged" in out) == (0, True)
            assert "cannot compare secrets (an extension of Offtake): they are taken as unchanged" in err
            assert "~ connection s" in way.apply(S3, "--send-secrets")
            assert "does not offer this: sets of managed resources is an extension" in way.refused(ZONE, "--set", "a")
            assert "does not offer this: catalogs is an extension" in way.refused(CATALOG)


def test_a_server_that_is_not_one_of_the_contract_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, deployed: Deployment
) -> None:
    async def pages(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<html>"})

    with applying(WAYS[1], deployed, tmp_path, capsys, monkeypatch) as way, listening(pages) as url:
        sign_in(deployed, url, monkeypatch)
        way.option = ("--server", url)
        assert "does not answer as one of the Flow Service contract" in way.refused(ZONE)
        code, out, err = way.run("diff", "-f", way.write(ZONE))
        assert (code, out, err.count("\n")) == (2, "", 1)
        sign_in(deployed, "http://127.0.0.1:9", monkeypatch)
        way.option = ("--server", "http://127.0.0.1:9")
        assert "cannot be reached" in way.refused(ZONE)


def test_a_comparison_reads_lists_page_by_page(
    deployed: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.import_rows("events", rows(0, 1))
    text = ZONE + "---\n".join(FLOW.replace("name: f", f"name: f{number}") for number in range(150))
    with applying(WAYS[1], deployed, tmp_path, capsys, monkeypatch) as way:
        app = Without(deployed.http.app, "^/nothing$")
        with listening(app) as url:
            sign_in(deployed, url, monkeypatch)
            way.option = ("--server", url)
            started = time.monotonic()
            way.apply(text, "--set", "a")
            app.requests.clear()
            assert way.actions(text, "--set", "a").keys() >= {"flow f149"}
            assert time.monotonic() - started < 300
    assert len(app.requests) <= 14, app.requests
