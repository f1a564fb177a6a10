"""What commands, servers and the processes that write files do without when they start."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from offtake.cli.commands import COMMANDS, Command, Group
from offtake.cli.main import main
from tests.servers import free_port

GROUPS = {word: entry for word, entry in COMMANDS.items() if isinstance(entry, Group)}
EVERY: dict[str, Command] = {word: entry for word, entry in COMMANDS.items() if isinstance(entry, Command)} | {
    f"{word} {second}": command for word, group in GROUPS.items() for second, command in group.commands.items()
}
ONLY_TO_KNOW_OTHERS = {"numpy", "pandas"}
FOR_SOME_DESTINATIONS = {"asyncssh", "azure.storage.blob", "boto3", "botocore"}
OF_A_SERVER = {"alembic", "fastapi", "offtake.flows", "offtake.scheduling", "offtake.store", "pyiceberg", "sqlalchemy"}
OF_COMMANDS = {"offtake.cli.options", "offtake.settings", "rich", "typer"}

SERVE_UNTIL_IT_ANSWERS = """
import os, signal, threading, time, urllib.request
import offtake.__main__

def ask():
    while True:
        try:
            print("answered:", urllib.request.urlopen("http://127.0.0.1:{port}/healthz").status)
            break
        except OSError:
            time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=ask, daemon=True).start()
sys.argv = ["offtake", "serve", "--data-dir", {data_dir!r}, "--port", "{port}"]
offtake.__main__.run()
"""


def carried_out(code: str, modules: set[str]) -> tuple[str, set[str]]:
    """What a fresh interpreter prints that carries out the code, and which of the modules it has loaded at its end."""
    tell = f"import atexit, sys\natexit.register(lambda: print('loaded:', *set(sys.modules) & {modules!r}))\n"
    command = [sys.executable, "-c", tell + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
    printed, _, found = done.stdout.rpartition("loaded:")
    return printed, set(found.split())


def words_of(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.fixture(autouse=True)
def _a_wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


@pytest.mark.parametrize("words", EVERY)
def test_lists_say_of_a_command_what_its_function_says(words: str) -> None:
    module, _, name = EVERY[words].function.partition(":")
    said = inspect.getdoc(getattr(import_module(f"offtake.cli.{module}"), name))
    assert said is not None
    assert EVERY[words].line == words_of(said.partition("\n\n")[0])


@pytest.mark.parametrize("words", EVERY)
def test_every_command_explains_itself(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words.split(), "--help"]) == 0
    printed = words_of(capsys.readouterr().out)
    assert f" {words} [OPTIONS]" in printed
    assert EVERY[words].line in printed
    assert "--data-dir" in printed


@pytest.mark.parametrize("words", ["", *GROUPS])
def test_lists_hold_every_command_with_its_whole_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words.split(), "--help"]) == 0
    printed = words_of(capsys.readouterr().out)
    for word, entry in (GROUPS[words].commands if words else COMMANDS).items():
        assert f" {word} {entry.line}" in printed


@pytest.mark.parametrize("arguments", [["--help"], ["flow", "--help"], ["frobnicate"], ["flow", "frobnicate"]])
def test_who_only_asks_what_there_is_waits_for_nothing(arguments: list[str]) -> None:
    code = f"import offtake.__main__\nfrom offtake.cli.main import main\nmain({arguments!r})"
    _, found = carried_out(code, OF_COMMANDS | OF_A_SERVER | {"pyarrow"})
    assert found - {"rich"} == {"typer"}


def test_a_process_that_writes_files_loads_nothing_of_the_server() -> None:
    modules = {"pyarrow"} | ONLY_TO_KNOW_OTHERS | FOR_SOME_DESTINATIONS | OF_A_SERVER | OF_COMMANDS
    assert carried_out("import offtake.__main__, offtake.engines.local", modules)[1] == {"pyarrow"}


def test_a_server_answers_without_what_only_some_work_needs(tmp_path: Path) -> None:
    others = {"httpx2", "offtake.cli.demo", "offtake.cli.flows", "pyiceberg.io.pyarrow"}
    for first in (True, False):
        code = SERVE_UNTIL_IT_ANSWERS.format(port=free_port(), data_dir=str(tmp_path / "data"))
        modules = {"fastapi", "alembic"} | others | ONLY_TO_KNOW_OTHERS | FOR_SOME_DESTINATIONS
        printed, found = carried_out(code, modules)
        assert "answered: 200" in printed
        # Tables are made once.
        assert found == ({"fastapi", "alembic"} if first else {"fastapi"})


def test_arrow_works_without_those_it_only_knows() -> None:
    code = "import offtake.__main__, pyarrow\nprint(pyarrow.array([1, None, 3]).to_pylist(), pyarrow.scalar(2).as_py())"
    printed, found = carried_out(code, ONLY_TO_KNOW_OTHERS)
    assert printed.strip() == "[1, None, 3] 2"
    assert found == set()
