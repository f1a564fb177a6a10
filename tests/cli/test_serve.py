"""`offtake serve` as users start it, and the README's steps against it, as written."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import commands
from tests.keyring import Keyring
from tests.servers import await_port, free_port

README = Path(__file__).parents[2] / "README.md"


@contextmanager
def serving(data_dir: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        await_port(port, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def offtake(*arguments: str | Path) -> Any:
    """A command's `--json` output."""
    done = commands.run([*arguments, "--json"])
    done.check_returncode()
    return json.loads(done.stdout)


def test_the_first_start_makes_a_client_that_can_call_the_api(tmp_path: Path) -> None:
    port, data_dir = free_port(), tmp_path / "data"
    with serving(data_dir, port) as process:
        admin = json.loads((data_dir / "admin.json").read_text())
        assert set(admin) == {"origin", "org_id", "client_id", "client_secret", "sandbox"}
        assert (admin["origin"], admin["sandbox"]) == (f"http://127.0.0.1:{port}", "prod")
        assert stat.S_IMODE((data_dir / "admin.json").stat().st_mode) == 0o600
        assert httpx2.get(f"{admin['origin']}/healthz").status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err.decode()
    assert admin["client_secret"] not in (out + err).decode()
    assert "admin.json" in out.decode().replace("\n", "")

    with serving(data_dir, port):
        assert json.loads((data_dir / "admin.json").read_text()) == admin

    (data_dir / "admin.json").unlink()
    with serving(data_dir, port) as process:
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=20)[0].decode().replace("\n", "")
    assert "offtake client rotate ID" in printed
    assert "admin.json" not in printed


def test_a_start_names_the_roles_that_can_export_no_longer(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    offtake("init", "--data-dir", data_dir)
    exports = ("--permission", "manage-and-activate-dataset-destinations")
    for name, permissions in (
        ("hit", (*exports, "--permission", "view-datasets")),
        ("spared", (*exports, "--permission", "view-destinations")),
        ("admins", ("--permission", "*")),
        ("connectors", ("--permission", "manage-destinations")),
    ):
        offtake("role", "create", name, *permissions, "--data-dir", data_dir)
    with serving(data_dir, free_port()) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    (line,) = [one for one in err.decode().splitlines() if "view-destinations" in one]
    assert "connectors, hit;" in line
    assert "offtake role update ROLE --add view-destinations" in line
    assert "spared" not in line


def test_a_port_that_is_in_use_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(tmp_path / "data"), "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_steps_of_the_readme_deliver(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    sections = [text.partition(f"## {one}\n")[2].partition("\n## ")[0] for one in ("Deliver a file to S3", "Import")]
    found = re.findall(r"^    (printf .*|(?:.venv/bin/)?offtake dataset .*)$", "".join(sections), re.MULTILINE)
    commands = [re.sub("^(?:.venv/bin/)?offtake", ".venv/bin/offtake", one) for one in found]
    data_dir = tmp_path / "offtake-data"
    with serving(data_dir, free_port()):
        for command in commands:
            _bash(command.replace(".venv/bin/offtake", f"{sys.executable} -m offtake"), tmp_path)
        flow = _bash(script + "\necho FLOW=$FLOW", tmp_path).rsplit("FLOW=", 1)[1].strip()
        run = _first_run(data_dir, flow)
        watched = offtake("run", "watch", run, "--data-dir", data_dir)
        _await_batches(data_dir)
    assert watched["status"] == "success", watched
    assert list((data_dir / "landing-zone" / "prod" / "exports").rglob("*.json.gz"))
    assert _columns_after_every_batch(data_dir) == ["id", "city"]


def test_the_commands_of_the_readme_encrypt(tmp_path: Path, keys: Keyring) -> None:
    text = README.read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    section = text.partition("## Encrypt")[2].partition("\n## ")[0]
    connect, collect = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    begin, end = script.index("BASE="), script.index("# 4.")
    steps = script[:begin] + connect + script[end:] + "\necho FLOW=$FLOW"
    rows = tmp_path / "events.ndjson"
    rows.write_text("".join(f'{{"id":{n}}}\n' for n in range(5)))
    data_dir = tmp_path / "offtake-data"
    environment = {**os.environ, "GNUPGHOME": str(keys.home_with("receiver@example.org"))}
    with serving(data_dir, free_port()):
        offtake("dataset", "import", "events", rows, "--data-dir", data_dir)
        done = _bash(steps, tmp_path, environment)
        run = _first_run(data_dir, done.rsplit("FLOW=", 1)[1].strip())
        assert offtake("run", "watch", run, "--data-dir", data_dir)["status"] == "success"
    (file, *_) = (data_dir / "landing-zone" / "prod" / "exports").rglob("*.json.gz.gpg")
    assert _bash(collect.replace("FILE.json.gz.gpg", str(file)), tmp_path, environment) == rows.read_text()


def _bash(script: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _await_batches(data_dir: Path) -> None:
    for _ in range(100):
        if all(one["status"] in ("success", "failed") for one in offtake("batch", "list", "--data-dir", data_dir)):
            return
    raise AssertionError("a batch did not end")


def _columns_after_every_batch(data_dir: Path) -> list[str]:
    """The columns of the README's dataset, once each of its batches is in."""
    batches = offtake("batch", "list", "events", "--data-dir", data_dir)
    assert [one["status"] for one in batches] == ["success", "success"], batches
    found = offtake("dataset", "show", "events", "--data-dir", data_dir)
    return [one["name"] for one in found["fields"]]


def _first_run(data_dir: Path, flow: str) -> str:
    for _ in range(100):
        for run in offtake("run", "list", "--data-dir", data_dir):
            if run["flowId"] == flow:
                return str(run["id"])
    raise AssertionError("no run was made")


@pytest.mark.parametrize("word", ["dataset list", "flow list", "run list"])
def test_every_command_takes_its_folder_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("OFFTAKE_DATA_DIR", str(tmp_path / "elsewhere"))
    assert offtake("init")["created"] is True
    assert offtake(*word.split()) == []
    assert (tmp_path / "elsewhere").is_dir()
