"""What commands, servers and the processes that write files import, and what they do without."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from offtake.cli.commands import COMMANDS, Command, Group
from offtake.cli.main import main

GROUPS = {word: entry for word, entry in COMMANDS.items() if isinstance(entry, Group)}
EVERY: dict[str, Command] = {word: entry for word, entry in COMMANDS.items() if isinstance(entry, Command)} | {
    f"{word} {second}": command for word, group in GROUPS.items() for second, command in group.commands.items()
}


def loaded(code: str, *modules: str) -> set[str]:
    """Which of the modules a fresh interpreter has loaded after it has carried out the code."""
    script = f"import sys\n{code}\nprint('loaded:', *set(sys.modules) & {set(modules)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("loaded:")[2].split())


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
    told = words_of(capsys.readouterr().out)
    assert f" {words} [OPTIONS]" in told
    assert EVERY[words].line in told
    assert "--data-dir" in told


@pytest.mark.parametrize("words", ["", *GROUPS])
def test_lists_hold_every_command_with_its_whole_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words.split(), "--help"]) == 0
    told = words_of(capsys.readouterr().out)
    for word, entry in (GROUPS[words].commands if words else COMMANDS).items():
        assert f" {word} {entry.line}" in told


@pytest.mark.parametrize("arguments", [["--help"], ["flow", "--help"], ["frobnicate"], ["flow", "frobnicate"]])
def test_who_only_asks_what_there_is_waits_for_nothing(arguments: list[str]) -> None:
    code = f"from offtake.cli.main import main\nmain({arguments!r})"
    heavy = ("offtake.cli.options", "offtake.settings", "offtake.flows", "fastapi", "sqlalchemy", "pyarrow")
    assert loaded(code, *heavy, "typer") == {"typer"}
