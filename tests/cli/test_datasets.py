"""`offtake dataset create | label | delete`, `offtake batch list | show`."""

import json
from pathlib import Path

import pytest

from offtake.cli.main import main
from tests.deployment import Deployment, rows
from tests.sqlite import put_migrated_store


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_dataset_is_made_without_rows_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_migrated_store(tmp_path / "data" / "offtake.db")
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


def test_batches_are_listed_and_shown(deployed: Deployment, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = ("--data-dir", str(deployed.backend.settings.data_dir))
    assert "No batches yet" in run(capsys, "batch", "list", *where)[2]
    dataset = deployed.import_rows("events", rows(0, 3))
    deployed.import_rows("towns", rows(0, 1))
    (tmp_path / "bad.json").write_text("{")
    assert run(capsys, "dataset", "import", "events", str(tmp_path / "bad.json"), *where)[0] == 1
    listed = json.loads(run(capsys, "batch", "list", "events", *where, "--json")[1])
    assert [(one["status"], one["relatedObjects"][0]["id"]) for one in listed] == [
        ("failed", dataset),
        ("success", dataset),
    ]
    assert len(json.loads(run(capsys, "batch", "list", *where, "--json", "--most", "2")[1])) == 2
    table = run(capsys, "batch", "list", *where)[1]
    assert all(one["id"] in table for one in listed)
    failed = json.loads(run(capsys, "batch", "show", listed[0]["id"], *where)[1])
    assert "bad.json, line 1" in failed["errors"][0]["description"]
    shown = json.loads(run(capsys, "batch", "show", listed[1]["id"], *where)[1])
    assert shown["metrics"]["outputRecordCount"] == 3
    for wrong in (("batch", "show", "nope"), ("batch", "list", "nope")):
        code, _, err = run(capsys, *wrong, *where)
        assert (code, err.count("\n")) == (1, 1)


def make(deployed: Deployment, name: str) -> str:
    answer = deployed.http.post("/data/foundation/catalog/dataSets", json={"name": name})
    return str(answer.json()[0].rpartition("/")[2])


@pytest.mark.parametrize(
    "command",
    ["dataset show towns", "dataset preview towns", "dataset update towns --evolve", "dataset delete towns",
     "dataset label towns a", "dataset import towns FILE", "dataset import towns FILE --dry-run",
     "dataset create towns", "batch list towns", "flow backfill FLOW --from start --to now --dataset towns"],
)  # fmt: skip
def test_a_name_that_several_datasets_have_is_refused_with_their_ids(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    where = ("--data-dir", str(deployed.backend.settings.data_dir))
    ids = [make(deployed, "towns"), make(deployed, "towns")]
    (tmp_path / "rows.json").write_text('{"id": 1}\n')
    given = {"FILE": str(tmp_path / "rows.json"), "FLOW": deployed.flow(*ids) if "FLOW" in command else ""}
    code, out, err = run(capsys, *(given.get(one, one) for one in command.split()), *where)
    assert (code, out, err.count("\n")) == (1, "", 1)
    named = [one for one in ids if one in err]
    assert named == ids or (named and "create" in command)
    assert set(deployed.http.get("/data/foundation/catalog/dataSets").json()) == set(ids)
    assert deployed.http.get("/data/foundation/catalog/batches").json() == {}
    code, out, _ = run(capsys, "dataset", "label", ids[1], "a", *where, "--json")
    assert (code, json.loads(out)["id"]) == (0, ids[1])


@pytest.mark.parametrize("how", ["name", " name ", "id"])
def test_a_command_creates_no_dataset_that_it_could_not_tell_from_another(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    where = ("--data-dir", str(deployed.backend.settings.data_dir))
    taken = make(deployed, "name")
    code, out, err = run(capsys, "dataset", "create", taken if how == "id" else how, *where)
    assert (code, out, taken in err) == (1, "", True)
    assert list(deployed.http.get("/data/foundation/catalog/dataSets").json()) == [taken]
