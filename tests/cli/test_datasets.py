"""`offtake dataset create | label | delete`."""

import json
from pathlib import Path

import pytest

from offtake.cli.main import main
from tests.deployment import Deployment, rows


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_dataset_is_made_without_rows_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--data-dir", str(tmp_path / "data"))
    made = json.loads(run(capsys, "dataset", "create", "towns", "--description", "All", *where, "--json")[1])
    assert run(capsys, "dataset", "create", "towns", *where)[0] == 1
    assert "0 rows" in run(capsys, "dataset", "show", "towns", *where)[1]
    assert run(capsys, "dataset", "preview", "towns", *where)[:2] == (0, "")
    assert f"({made['id']}) is deleted" in run(capsys, "dataset", "delete", "towns", *where)[1]
    assert json.loads(run(capsys, "dataset", "list", *where, "--json")[1]) == []


def test_what_flows_export_is_deleted_only_when_forced(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--data-dir", str(deployed.backend.settings.data_dir))
    flow = deployed.flow(deployed.import_rows("events", rows(0, 1)))
    code, out, err = run(capsys, "dataset", "delete", "events", *where)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert flow in err
    assert run(capsys, "dataset", "delete", "events", "--force", *where)[0] == 0


def test_labels_are_given_and_taken(deployed: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--data-dir", str(deployed.backend.settings.data_dir))
    deployed.import_rows("events", rows(0, 1))
    given = json.loads(run(capsys, "dataset", "label", "events", "b", "a", *where, "--json")[1])
    assert given["labels"] == ["a", "b"]
    with deployed.acting(deployed.new_client("*")):
        assert deployed.http.get("/data/foundation/catalog/dataSets").json() == {}
    assert "labels: none" in run(capsys, "dataset", "label", "events", "--remove", *where)[1]
    for arguments in ((), ("a", "--remove"), ("*",)):
        code, _, err = run(capsys, "dataset", "label", "events", *arguments, *where)
        assert code == 1
        assert err
