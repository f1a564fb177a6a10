"""What commands, servers and the processes that write files do without when they start."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from offtake import __version__
from offtake.cli.commands import COMMANDS, Command, Group, command_line, entries
from offtake.cli.examples import EXAMPLES
from offtake.cli.main import main
from tests.deployment import Deployment, rows
from tests.servers import free_port

ENTRIES = dict(entries())
GROUPS = {words: entry for words, entry in ENTRIES.items() if isinstance(entry, Group)}
EVERY = {words: entry for words, entry in ENTRIES.items() if isinstance(entry, Command)}
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
    assert words.startswith("profile ") or "--data-dir" in printed


@pytest.mark.parametrize("words", EVERY)
def test_every_command_has_an_example_that_it_accepts(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = EXAMPLES[words]
    assert example.startswith(words)
    assert main([*words.split(), "--help"]) == 0
    assert f"Example: offtake {example}" in words_of(capsys.readouterr().out)
    command, parent = command_line(), None
    rest = ["offtake", *example.split()]
    while rest:
        parent = command.make_context(rest[0], rest[1:], parent=parent)
        rest = [*getattr(parent, "_protected_args", []), *parent.args]
        if rest:
            found = command.get_command(parent, rest[0])
            assert found is not None
            command = found  # type: ignore[assignment]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"offtake {__version__}\n"


REMOTE = """
import offtake.__main__
from offtake.cli.main import main
for words in {commands!r}:
    main([*words.split(), "--server", "http://127.0.0.1:9"])
"""


def test_a_command_over_the_network_loads_nothing_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIENT_ID", "CLIENT_SECRET", "ORGANISATION"):
        monkeypatch.setenv(f"OFFTAKE_{name}", "x")
    file = tmp_path / "towns.csv"
    file.write_text("id")
    documents = tmp_path / "documents.yaml"
    documents.write_text("{kind: flow, name: f, dataset: d, to: c, format: json, once: true}")
    commands = [
        "status --since 1d", "run list --since 1d --status failed", "batch list --since 1d",
        "flow list", "flow show x", "flow run x", "flow verify x", "flow backfill x --since 1d", "run list",
        "run watch x",
        "run verify x", "dataset list", f"dataset import x {file}", "dataset create x --column id:long", "batch list",
        "batch revert x", "connection list", "connection test x", "connection create landing-zone x",
        "connection show x", "connection edit x --name y", "connection delete x --yes",
        "flow preview x", "flow pause x", "flow resume x",
        "flow delete x --yes", "flow edit x --every 3h",
        "flow create x --dataset y --to z --path / --format ndjson --every 3h", "client list", "role list",
        "sandbox list", "audit list", f"apply -f {documents} --yes", f"diff -f {documents}", "export",
        "catalog list", "catalog show x", "catalog test x", "catalog sync x", "dataset register x --catalog x",
        "catalog add x --type rest --property uri=https://x", "catalog update x --name y", "catalog remove x",
        "dataset maintain",
    ]  # fmt: skip
    _, found = carried_out(REMOTE.format(commands=commands), OF_A_SERVER | {"pyarrow", "starlette", "offtake.settings"})
    assert found == set()


COMPLETE = """
import os, sys
os.environ |= {{"_OFFTAKE_COMPLETE": "complete_bash", "COMP_WORDS": {words!r}, "COMP_CWORD": {number!r}}}
sys.argv = ["offtake"]
import offtake.__main__
offtake.__main__.run()
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("offtake dataset show ev", {"events", "evening"}),
        ("offtake dataset preview eve", {"events", "evening"}),
        ("offtake flow show fl", {"flow"}),
        ("offtake catalog show la", {"lakehouse"}),
        ("offtake catalog add x --type re", {"rest"}),
        ("offtake catalog add x --type rest --property ua", set()),
        ("offtake catalog add x --type rest --property oauth2", {"oauth2-server-uri="}),
        ("offtake catalog add x --type rest --secret cred", {"credential"}),
        ("offtake dataset show --data-dir /nowhere ev", set()),
        ("offtake dataset show --server http://127.0.0.1:9 ev", set()),
    ],
)
def test_names_are_completed_without_a_server(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, words: str, expected: set[str]
) -> None:
    monkeypatch.setenv("OFFTAKE_DATA_DIR", str(deployed.backend.settings.data_dir))
    deployed.flow(deployed.import_rows("events", rows(0, 1)))
    deployed.import_rows("evening", rows(0, 1))
    body = {"name": "lakehouse", "type": "rest", "properties": {"uri": "https://catalog.example.org"}}
    deployed.post("/data/foundation/catalog/lakeCatalogs", body)
    code = COMPLETE.format(words=words, number=str(len(words.split()) - 1))
    printed, found = carried_out(code, OF_A_SERVER | {"pyarrow", "offtake.settings"})
    assert (set(printed.split()), found) == (expected, set())


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


@pytest.mark.parametrize("words", ["connection create sftp", "connection create s3", "connection edit", "flow create"])
def test_options_of_destinations_load_no_server_and_no_driver(words: str) -> None:
    code = f"import offtake.__main__\nfrom offtake.cli.main import main\nmain([*{words!r}.split(), '--help'])"
    printed, found = carried_out(
        code, OF_A_SERVER | FOR_SOME_DESTINATIONS | {"offtake.destinations", "obstore", "pyarrow"}
    )
    assert found == set()
    assert "--" in printed


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
