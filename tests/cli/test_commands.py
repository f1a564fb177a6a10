import json
from pathlib import Path

import pytest

from offtake.cli.main import main
from offtake.engines.local import LocalEngine
from tests.deployment import WITH_MANIFEST, deployment, rows
from tests.fake_clock import FakeClock
from tests.servers import free_port
from tests.sqlite import put_migrated_store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "towns.csv"
    path.write_text("id,city\n1,Bern\n2,Graz\n")
    return path


@pytest.fixture
def where(tmp_path: Path) -> tuple[str, str]:
    """The option that names a deployment without content."""
    put_migrated_store(tmp_path / "data" / "offtake.db")
    return "--data-dir", str(tmp_path / "data")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_dataset_is_imported_listed_shown_and_previewed(
    where: tuple[str, str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "2 rows into new dataset towns" in run(capsys, "dataset", "import", "towns", str(file), *where)[1]
    again = json.loads(run(capsys, "dataset", "import", "towns", str(file), "--again", *where, "--json")[1])
    assert (again["created"], again["batch"]["rows"]) == (False, 2)
    (listed,) = json.loads(run(capsys, "dataset", "list", *where, "--json")[1])
    assert listed["name"] == "towns"
    shown = json.loads(run(capsys, "dataset", "show", "towns", *where, "--json")[1])
    assert (shown["rows"], len(shown["snapshots"])) == (4, 2)
    previewed = run(capsys, "dataset", "preview", listed["id"], "--rows", "3", *where, "--json")[1]
    assert [json.loads(line) for line in previewed.splitlines()] == [
        {"id": 1, "city": "Bern"},
        {"id": 2, "city": "Graz"},
        {"id": 1, "city": "Bern"},
    ]
    for command in ("list", "show towns", "preview towns"):
        code, out, _ = run(capsys, "dataset", *command.split(), *where)
        assert code == 0
        assert out


def test_a_flow_is_run_and_its_run_followed(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--data-dir", str(tmp_path / "data"))
    with deployment(tmp_path / "data", clock, engine) as deployed:
        far = deployed.clock.now_seconds() + 86_400
        dataset = deployed.import_rows("events", rows(0, 5))
        flow = deployed.flow(dataset, params=WITH_MANIFEST, schedule={"startTime": far})
        (listed,) = json.loads(run(capsys, "flow", "list", *where, "--json")[1])
        assert listed["id"] == flow
        made = json.loads(run(capsys, "flow", "run", "flow", *where, "--json")[1])
        assert made["flowId"] == flow
        assert run(capsys, "flow", "run", flow, *where)[0] == 1  # one is waiting already
        deployed.run_due()
    code, out, _ = run(capsys, "run", "watch", made["id"], *where, "--json")
    assert code == 0
    last = json.loads(out)
    assert (last["status"], last["parts_done"], last["rows"]) == ("success", 1, 5)
    assert last["bytes"] > 0
    assert "5/5 rows" in run(capsys, "run", "watch", made["id"], *where)[1]
    (run_listed,) = json.loads(run(capsys, "run", "list", "--flow", flow, *where, "--json")[1])
    assert run_listed["id"] == made["id"]
    assert "manifest:" in run(capsys, "run", "show", made["id"], *where)[1]
    assert "success" in run(capsys, "run", "list", *where)[1]
    assert "flow" in run(capsys, "flow", "list", *where)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("dataset show nope", "No dataset has the id or the name nope"),
        ("dataset preview nope", "No dataset has the id or the name nope"),
        ("dataset import towns /nowhere.csv", "/nowhere.csv is not a file"),
        ("dataset import towns", "Missing argument"),
        ("dataset frobnicate", "No such command"),
        ("dataset", "Missing command"),
        ("flow run nope", "No flow has the id or the name nope"),
        ("flow run towns --server https://offtake.example", "not both"),
        ("run show 00000000-0000-0000-0000-000000000000", "not found"),
        ("run watch nope", "not found"),
        ("dataset preview towns --rows 0", "--rows"),
        ("serve --port 99999", "--port"),
    ],
)
def test_a_mistake_is_one_line_and_a_non_zero_exit(
    where: tuple[str, str], capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    tail = where if len(arguments.split()) > 1 else []
    code, out, err = run(capsys, *arguments.split(), *tail)
    assert code != 0
    assert out == ""
    assert said in err
    assert err.startswith("offtake: ")
    assert err.count("\n") == 1


def test_settings_that_cannot_be_used_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFTAKE_EXPORT_PROCESSES", "many")
    code, _, err = run(capsys, "dataset", "list", "--data-dir", str(tmp_path / "data"))
    assert code == 1
    assert "processes" in err
    assert "many" not in err


def test_without_arguments_the_commands_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert all(command in out for command in ("serve", "demo", "dataset", "flow", "run"))


def test_a_demo_in_a_folder_that_is_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "demo", "--data-dir", str(tmp_path))
    assert code == 1
    assert "exists already" in err


def test_the_demo_proves_what_it_delivers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--rows", "2000", "--data-dir", str(tmp_path / "demo"), "--port", str(free_port())]) == 0
    out = capfd.readouterr().out
    assert "full: 2,000 rows equal" in out
    assert "incremental: 200 rows equal" in out
