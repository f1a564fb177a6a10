"""Profiles, tokens, and servers over the network that do not answer as they should."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.client import profiles, token_cache
from tests.cli.ways import isolate, listening, sign_in
from tests.deployment import Deployment

ADD = ("profile", "add", "production", "--server", "https://offtake.example/", "--client-id", "me",
       "--organisation", "ORG@AdobeOrg")  # fmt: skip


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_profile_is_stored_shown_used_and_removed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, *ADD, "--secret", "env:SECRET", "--sandbox", "dev")[0] == 0
    file = profiles.config_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv("SECRET", "s3cret")
    found = profiles.find_profile("production", Path())
    assert (found.server, found.client_secret, found.sandbox) == ("https://offtake.example", "s3cret", "dev")
    assert found.token_url == "https://offtake.example/ims/token/v3"
    assert "s3cret" not in repr(found)
    assert profiles.default_server() is None
    assert run(capsys, "profile", "use", "production")[0] == 0
    assert profiles.default_server() == "production"
    (listed,) = json.loads(run(capsys, "profile", "list", "--json")[1])
    assert (listed["name"], listed["default"], listed["client_secret"]) == ("production", True, "env:SECRET")
    assert "sandbox: dev\n" in run(capsys, "profile", "show", "production")[1]
    assert run(capsys, "profile", "remove", "production")[0] == 0
    assert (profiles.default_server(), json.loads(run(capsys, "profile", "list", "--json")[1])) == (None, [])


def test_what_a_person_wrote_into_the_file_stays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = profiles.config_file()
    file.parent.mkdir(parents=True)
    kept = '# mine\ndefault = "own"\n\n[profiles.own]  # keep\nserver = "https://a.example"\n\n[other]\nx = 1\n'
    file.write_text(kept)
    (tmp_path / "secret").write_text("s3cret\n")
    for _ in range(2):
        assert run(capsys, *ADD, "--secret-file", str(tmp_path / "secret"))[0] == 0
    assert file.read_text().startswith(kept)
    assert file.read_text().count("[profiles.production]") == 1
    assert profiles.find_profile("production", Path()).client_secret == "s3cret"
    run(capsys, "profile", "remove", "production")
    assert file.read_text() == kept
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_secret_that_is_typed_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.prompt", lambda *_, **options: "typed" if options["hide_input"] else "")
    assert run(capsys, *ADD)[0] == 0
    assert profiles.find_profile("production", Path()).client_secret == "typed"
    shown = run(capsys, "profile", "show", "production")[1] + run(capsys, "profile", "list", "--json")[1]
    assert "typed" not in shown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((*ADD, "--secret", "plain"), "--secret is a reference"),
        ((*ADD, "--secret", "env:A", "--secret-file", "b"), "not both"),
        ((*ADD, "--secret-file", "/nowhere"), "/nowhere cannot be read"),
        (("profile", "add", "a b", *ADD[3:], "--secret", "env:A"), "is not a name of a profile"),
        (("profile", "add", "a", "--server", "offtake", *ADD[5:], "--secret", "env:A"), "is not a URL"),
        (("profile", "show", "nope"), "There is no profile nope"),
        (("profile", "use", "nope"), "There is no profile nope"),
        (("profile", "remove", "nope"), "There is no profile nope"),
        (("flow", "list", "--server", "nope"), "has no profile nope"),
        (("flow", "list", "--server", "https://a.example"), "client_id, client_secret, organisation"),
        (("flow", "list", "--server", "ftp://a.example"), "is not a URL"),
        (("flow", "list", "--server", "http://[::1"), "is not a URL"),
        (("flow", "list", "--server", "x", "--data-dir", "y"), "not both"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert problem in err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = [", "is not valid TOML"),
        ("profiles = 3", "profiles must be tables"),
        ("[profiles.a]\nserve = 'x'", "unknown key serve; did you mean server?"),
        ("[profiles.a]\nserver = 3", "must be text in quotes"),
        ("default = 3", "must be the name of a profile"),
    ],
)
def test_a_broken_file_of_profiles_is_one_line(capsys: pytest.CaptureFixture[str], text: str, problem: str) -> None:
    file = profiles.config_file()
    file.parent.mkdir(parents=True)
    file.write_text(text)
    code, _, err = run(capsys, "profile", "list")
    assert (code, problem in err, err.count("\n")) == (1, True, 1), err


# Servers


@pytest.fixture
def server(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with listening(deployed.http.app) as url:
        sign_in(deployed, url, monkeypatch)
        yield url


def cached() -> list[Path]:
    return list(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.json"))


def test_a_token_is_kept_for_this_user_and_replaced_when_it_is_refused(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "flow", "list", "--server", server)[0] == 0
    (file,) = cached()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = json.loads(file.read_text())
    assert run(capsys, "flow", "list", "--server", server)[0] == 0
    assert json.loads(file.read_text()) == first
    file.write_text(json.dumps(first | {"token": "expired on the server"}))
    assert run(capsys, "flow", "list", "--server", server)[0] == 0
    assert json.loads(file.read_text())["token"] != "expired on the server"
    file.write_text(json.dumps(first | {"expires": 0, "token": "expired here"}))
    assert run(capsys, "flow", "list", "--server", server)[0] == 0
    file.write_text("{")
    assert run(capsys, "flow", "list", "--server", server)[0] == 0


def test_a_wrong_secret_is_one_line(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFTAKE_CLIENT_SECRET", "wrong")
    code, out, err = run(capsys, "flow", "list", "--server", server)
    assert (code, out, err.count("\n")) == (1, "", 1), err[-1500:]
    assert "wrong" not in err
    assert cached() == []


def test_the_credentials_of_another_server_are_not_sent(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = server.replace("127.0.0.1", "localhost")
    code, _, err = run(capsys, "flow", "list", "--server", other)
    assert (code, "OFFTAKE_CLIENT_ID" in err) == (1, True)


async def _page(scope: Any, _receive: Any, send: Any) -> None:
    """A web server that is not one of the contract."""
    status = 200 if scope["path"] == "/ims/token/v3" else 302
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<html>"})


def test_a_server_that_is_not_one_of_the_contract_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLIENT_ID", "CLIENT_SECRET", "ORGANISATION"):
        monkeypatch.setenv(f"OFFTAKE_{name}", "x")
    with listening(_page) as url:
        for _ in range(2):
            code, out, err = run(capsys, "flow", "list", "--server", url)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "does not answer as one of the Flow Service contract does" in err
            token_cache.keep(profiles.find_profile(url, Path()), token_cache.Token("x", 2e9))
    code, _, err = run(capsys, "flow", "list", "--server", url)
    assert (code, "cannot be reached" in err, err.count("\n")) == (1, True, 1)
    code, _, err = run(capsys, "flow", "list", "--server", url.replace("http:", "https:"))
    assert (code, "cannot be reached" in err, err.count("\n")) == (1, True, 1)


def test_a_server_without_extensions_serves_what_the_contract_has(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = deployed.post("/connections", {"name": "the zone"})["id"]
    flow = deployed.flow(deployed.import_rows("events", [{"id": 1}]))
    deployed.run_due()
    (made,) = deployed.get("/runs")["items"]

    async def contract_only(scope: Any, receive: Any, send: Any) -> None:
        extensions = ("/status", "/run", "/backfill", "/verification", "/progress", "/files", "/table", "/rows")
        if scope["path"].endswith((*extensions, "/manifest")) or "/clients" in scope["path"]:
            scope = scope | {"path": "/not/served", "raw_path": b"/not/served"}
        await deployed.http.app(scope, receive, send)

    with listening(contract_only) as url:
        sign_in(deployed, url, monkeypatch)
        where = ("--server", url)
        assert base in run(capsys, "connection", "list", *where)[1]
        code, out, err = run(capsys, "flow", "show", flow, *where)
        assert (code, f"({flow}) is enabled" in out) == (0, True)
        assert "an extension of Offtake" in err
        assert run(capsys, "run", "watch", made["id"], *where)[0] == 0
        assert "part-" in run(capsys, "run", "show", made["id"], *where)[1]
        assert run(capsys, "dataset", "preview", "events", *where)[1] == '{"id": 1}\n'
        assert "events (" in run(capsys, "dataset", "show", "events", *where)[1]
        started = json.loads(run(capsys, "flow", "run", flow, *where, "--json")[1])
        assert started["id"] in {one["id"] for one in deployed.get("/runs")["items"]}
        for arguments in (
            ("run", "verify", made["id"]),
            ("run", "manifest", made["id"]),
            ("flow", "verify", flow),
            ("flow", "run", flow, "--full"),
            ("flow", "backfill", flow, "--from", "start", "--to", "now"),
            ("client", "list"),
            ("client", "create", "partner"),
        ):
            code, out, err = run(capsys, *arguments, *where)
            assert (code, out, err.count("\n")) == (1, "", 1), arguments
            assert "is an extension of Offtake" in err
