"""Commands with servers that are not one of the contract: one line, without secrets, and no crash."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.client import remote
from tests.cli.ways import isolate

TOKEN = {"access_token": "a-secret-token", "expires_in": 3600}
ENDLESS = {"items": [{"id": "x", "name": "n"}], "_links": {"next": {"href": "/x?continuationToken=t"}}}
ANSWERS = {
    "a page of HTML": (TOKEN, b"<html></html>"),
    "no answer": (b"", b""),
    "a list instead of a token": ([1], []),
    "a token that is not a header": ({"access_token": "a-secret-token\r\nX: y"}, {}),
    "a lifetime that is too long": (TOKEN | {"expires_in": 10**400}, {"items": [5]}),
    "null": (TOKEN, None),
    "items without ids": (TOKEN, {"items": [{"no": "id"}, 5, None]}),
    "items of another form": (TOKEN, {"items": [{"id": "x", "name": []}], "dataSets": 5}),
    "arrays without end": (TOKEN, b"[" * 100_000),
    "pages without end": (TOKEN, ENDLESS),
}
COMMANDS = (
    ["flow", "list"],
    ["flow", "show", "nightly"],
    ["run", "list"],
    ["dataset", "list"],
    ["status"],
    ["role", "list"],
    ["export"],
)


@contextmanager
def answering(token: object, other: object) -> Iterator[str]:
    """A server with one answer to requests for tokens, and one to all others; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self._answer(token if "token" in self.path else other)

        def do_GET(self) -> None:
            self._answer(other)

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, answer: object) -> None:
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setenv("OFFTAKE_DATA_DIR", str(tmp_path / "none"))
    for name, value in (("CLIENT_ID", "c"), ("CLIENT_SECRET", "a-secret"), ("ORGANISATION", "o")):
        monkeypatch.setenv(f"OFFTAKE_{name}", value)


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_of_another_form_is_one_line(
    answers: tuple[object, object], capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(*answers) as url:
        for command in COMMANDS:
            code = main([*command, "--server", url])
            printed = capsys.readouterr()
            assert (code in (0, 1), "Traceback" in printed.err, "secret" in printed.out + printed.err) == (
                True,
                False,
                False,
            ), (command, printed)
            assert code == 0 or printed.err.splitlines()[-1].startswith("offtake: "), (command, printed)


def test_a_plan_with_a_server_of_another_form_blames_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "zone.yaml"
    file.write_text("kind: connection\nname: zone\ndestination: landing-zone\n")
    with answering(TOKEN, {"items": [5]}) as url:
        assert main(["diff", "-f", str(file), "--server", url]) in (1, 2)
    printed = capsys.readouterr()
    assert "does not answer as one of the Flow Service contract" in printed.err
    assert "zone.yaml" not in printed.err


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(TOKEN, {"items": [], "padding": "x" * 5_000_000}) as url:
        monkeypatch.setattr(remote, "_LARGEST_ANSWER", 4 * 1024 * 1024)
        assert main(["flow", "list", "--server", url]) == 1
        assert capsys.readouterr().err == f"offtake: An answer of {url} has more than 4 MiB.\n"
        monkeypatch.setattr(remote, "_LARGEST_ANSWER", 10**9)
        monkeypatch.setattr(remote, "_LONGEST_ANSWER_SECONDS", -1)
        assert main(["flow", "list", "--server", url]) == 1
        assert capsys.readouterr().err == f"offtake: The server {url} did not answer in time.\n"


@pytest.mark.parametrize("name", ["CLIENT_ID", "ORGANISATION"])
@pytest.mark.parametrize("value", ["böb", "a\r\nX: y"])
def test_values_that_no_header_can_have(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"OFFTAKE_{name}", value)
    with answering(TOKEN, {"items": []}) as url:
        assert main(["flow", "list", "--server", url]) == 1
    printed = capsys.readouterr().err
    assert ("a header cannot have" in printed, printed.count("\n"), "secret" in printed) == (True, 1, False)
