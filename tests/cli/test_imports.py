"""`offtake dataset import` with its options, `dataset create` with columns, `dataset update`, `batch revert`."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offtake.catalog import duplicate_content, file_import
from offtake.catalog.file_import import ImportRequest
from offtake.lake import ingest
from offtake.lake.table_names import TableName
from offtake.store import batches as store
from offtake.store.tables import Batch, Dataset
from tests.cli.deliveries import Offtake
from tests.deployment import Deployment

CATALOG = "/data/foundation/catalog"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "towns.csv"
    path.write_text("id,city\n1,Bern\n2,Graz\n")
    return path


def batches(offtake: Offtake, dataset: str) -> list[Any]:
    listed: list[Any] = json.loads(offtake("batch", "list", dataset, "--json")[1])
    return listed


def left(deployed: Deployment) -> list[Path]:
    return list(deployed.backend.settings.data_dir.rglob("warehouse/*/*"))


def columns(offtake: Offtake, dataset: str) -> dict[str, tuple[str, bool]]:
    shown = json.loads(offtake("dataset", "show", dataset, "--json")[1])
    return {one["name"]: (one["type"], one["required"]) for one in shown["fields"]}


def test_a_dataset_is_made_with_its_columns_and_its_table(offtake: Offtake, tmp_path: Path) -> None:
    given = ("--column", "id:long:required", "--column", "home:struct<zip: string, at: timestamptz>")
    assert offtake("dataset", "create", "towns", *given)[0] == 0
    found = columns(offtake, "towns")
    assert found["id"] == ("long", True)
    assert list(found) == ["id", "home"]
    assert not found["home"][1]
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"columns": [{"name": "price", "type": "decimal(18,2)", "required": True}]}))
    assert offtake("dataset", "create", "prices", "--schema", str(schema))[0] == 0
    assert columns(offtake, "prices") == {"price": ("decimal(18, 2)", True)}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--column", "id"),
        ("--column", "id:text"),
        ("--column", "id:int", "--column", "id:long"),
        ("--column", "id:int", "--schema", "x.json"),
        ("--schema", "missing.json"),
    ],
)
def test_columns_that_cannot_be_leave_no_dataset(
    offtake: Offtake, deployed: Deployment, wrong: tuple[str, ...]
) -> None:
    code, out, err = offtake("dataset", "create", "towns", *wrong)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert json.loads(offtake("dataset", "list", "--json")[1]) == []
    assert left(deployed) == []


def test_a_table_that_cannot_be_made_leaves_no_dataset(offtake: Offtake, deployed: Deployment) -> None:
    blocked = deployed.backend.settings.data_dir / "lake" / "warehouse"
    blocked.write_text("in the way")
    code, out, err = offtake("dataset", "create", "towns", "--column", "id:int")
    assert (code, out, err.count("\n")) == (1, "", 1)
    blocked.unlink()
    assert json.loads(offtake("dataset", "list", "--json")[1]) == []
    assert offtake("dataset", "create", "towns", "--column", "id:int")[0] == 0


def test_a_dataset_evolves_only_where_that_was_said(offtake: Offtake, file: Path, tmp_path: Path) -> None:
    assert offtake("dataset", "import", "towns", str(file))[0] == 0
    more = tmp_path / "more.csv"
    more.write_text("id,country\n3,CH\n")
    code, _, err = offtake("dataset", "import", "towns", str(more))
    assert (code, err.count("\n")) == (1, 1)
    assert "country" in err
    assert "new columns are refused" in offtake("dataset", "show", "towns")[1]
    assert offtake("dataset", "import", "towns", str(more), "--evolve")[0] == 0
    assert list(columns(offtake, "towns")) == ["id", "city", "country"]
    other = tmp_path / "other.csv"
    other.write_text("id,river\n3,Aare\n")
    assert offtake("dataset", "import", "towns", str(other))[0] == 1
    assert offtake("dataset", "update", "towns")[0] == 1
    assert offtake("dataset", "update", "towns", "--evolve")[0] == 0
    assert json.loads(offtake("dataset", "show", "towns", "--json")[1])["evolves"] is True
    assert offtake("dataset", "import", "towns", str(other))[0] == 0
    assert offtake("dataset", "update", "towns", "--no-evolve")[0] == 0
    assert json.loads(offtake("dataset", "show", "towns", "--json")[1])["evolves"] is False


def test_a_dry_run_says_what_would_happen_and_writes_nothing(
    offtake: Offtake, deployed: Deployment, file: Path, tmp_path: Path
) -> None:
    code, out, _ = offtake("dataset", "import", "towns", str(file), "--dry-run", "--json")
    planned = json.loads(out)
    assert (code, planned["rows"], planned["columnsAdded"]) == (0, 2, ["id", "city"])
    assert json.loads(offtake("dataset", "list", "--json")[1]) == []
    assert left(deployed) == []
    assert offtake("dataset", "import", "towns", str(file))[0] == 0
    more = tmp_path / "more.csv"
    more.write_text("id,country\n3,CH\n")
    before = (left(deployed), batches(offtake, "towns"))
    code, out, err = offtake("dataset", "import", "towns", str(more), "--dry-run")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "country" in err
    code, out, _ = offtake("dataset", "import", "towns", str(more), "--dry-run", "--evolve")
    assert code == 0
    assert "columns that would be added: country" in out
    code, _, err = offtake("dataset", "import", "towns", str(file), "--dry-run")
    assert code == 1
    assert "were imported as batch" in err
    assert (left(deployed), batches(offtake, "towns")) == before


def test_what_came_in_before_comes_in_again_only_when_that_is_asked_for(offtake: Offtake, file: Path) -> None:
    first = json.loads(offtake("dataset", "import", "towns", str(file), "--json")[1])["batch"]
    code, _, err = offtake("dataset", "import", "towns", str(file))
    assert (code, err.count("\n")) == (1, 1)
    assert f"were imported as batch {first['id']} at " in err
    again = json.loads(offtake("dataset", "import", "towns", str(file), "--again", "--json")[1])["batch"]
    assert (again["rows"], first["id"] in again["notes"][0]) == (2, True)
    assert offtake("dataset", "import", "towns", str(file), "--delimiter", ",")[0] == 0  # read in another way
    assert offtake("dataset", "import", "others", str(file))[0] == 0  # into another dataset
    assert [one["status"] for one in batches(offtake, "towns")].count("failed") == 1


def test_what_was_reverted_may_come_in_again(offtake: Offtake, file: Path) -> None:
    first = json.loads(offtake("dataset", "import", "towns", str(file), "--json")[1])["batch"]["id"]
    assert "2 rows" in offtake("batch", "revert", first)[1]
    assert offtake("dataset", "import", "towns", str(file))[0] == 0


def test_of_two_imports_of_the_same_content_at_the_same_time_one_wins(
    deployed: Deployment, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = deployed.backend
    deployed.import_rows("towns", [{"id": 0, "city": "x"}])
    both = threading.Barrier(2, timeout=60)
    claim = duplicate_content.claim

    def claim_together(*arguments: Any, **more: Any) -> None:
        both.wait()
        claim(*arguments, **more)

    monkeypatch.setattr("offtake.catalog.duplicate_content.claim", claim_together)
    monkeypatch.setattr("offtake.catalog.duplicate_content.check_new", lambda *_: None)
    ended: list[str] = []

    def bring() -> None:
        try:
            file_import.import_files(
                backend.database,
                backend.lake,
                backend.parsers,
                deployed.caller,
                deployed.clock,
                ImportRequest("towns", (file,)),
            )
            ended.append("in")
        except Exception as error:  # noqa: BLE001 - the test looks at it
            ended.append(str(error))

    threads = [threading.Thread(target=bring) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one == "in" for one in ended) == [False, True]
    refused = next(one for one in ended if one != "in")
    assert "as batch " in refused
    with backend.database.reading() as session:
        found = session.query(Batch).all()
        dataset = session.get_one(Dataset, found[0].dataset_id)
    assert sorted(one.status for one in found) == ["failed", "success", "success"]
    assert len(backend.lake.load(TableName(dataset.table_name)).metadata.snapshots) == 2


@pytest.mark.parametrize("error", [ValueError("odd\nvalue"), TypeError("x"), KeyError("k"), OSError(5, "I/O error")])
@pytest.mark.parametrize("exists", [False, True])
def test_whatever_goes_wrong_nothing_is_left_and_one_line_is_printed(
    offtake: Offtake,
    deployed: Deployment,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    exists: bool,
) -> None:
    if exists:
        deployed.import_rows("towns", [{"id": 0, "city": "x"}])
    before = left(deployed)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("offtake.lake.ingest.ingest", fail)
        code, out, err = offtake("dataset", "import", "towns", str(file))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert left(deployed) == before
    named = [one["name"] for one in json.loads(offtake("dataset", "list", "--json")[1])]
    assert named == (["towns"] if exists else [])
    if exists:
        failed = batches(offtake, "towns")[0]
        assert (failed["status"], "odd" in json.dumps(failed)) == ("failed", False)
        assert len(list(deployed.backend.settings.data_dir.rglob("warehouse/**/*.parquet"))) == 1


def test_an_import_whose_commit_was_made_though_it_failed_is_in(
    offtake: Offtake, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in = ingest.ingest

    def commit_and_fail(*arguments: Any, **more: Any) -> Any:
        bring_in(*arguments, **more)
        raise ValueError("the answer was lost")

    monkeypatch.setattr("offtake.lake.ingest.ingest", commit_and_fail)
    assert offtake("dataset", "import", "towns", str(file))[0] == 0
    assert [one["status"] for one in batches(offtake, "towns")] == ["success"]


def test_a_refused_import_leaves_the_dataset_it_made_when_another_uses_it_meanwhile(
    deployed: Deployment, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = deployed.backend

    def meanwhile(*_: Any) -> None:
        deployed.import_rows("towns", [{"id": 7}])
        raise ValueError("no")

    monkeypatch.setattr("offtake.catalog.duplicate_content.claim", lambda *_, again: None if again else meanwhile())
    with pytest.raises(Exception, match="no"):
        file_import.import_files(
            backend.database,
            backend.lake,
            backend.parsers,
            deployed.caller,
            deployed.clock,
            ImportRequest("towns", (file,)),
        )
    found = deployed.http.get(f"{CATALOG}/dataSets").json()
    assert [one["name"] for one in found.values()] == ["towns"]
    (dataset,) = found
    rows = deployed.http.get(f"/data/foundation/export/datasets/{dataset}/preview").json()["data"]
    assert rows == [{"id": 7}]


def test_options_that_cannot_be_are_named_and_nothing_comes_in(offtake: Offtake, file: Path) -> None:
    for wrong, named in (
        (("--delimiter", "ab"), "--delimiter"),
        (("--encoding", "nope"), "--encoding"),
        (("--type", "city"), "city"),
        (("--type", "city:int", "--type", "city:long"), "--type"),
        (("--nanoseconds", "x"), "--nanoseconds"),
    ):
        code, out, err = offtake("dataset", "import", "towns", str(file), *wrong)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert named in err
    parquet = file.with_name("a.parquet")
    for option in (("--delimiter", ";"), ("--no-header",)):
        code, _, err = offtake("dataset", "import", "towns", str(parquet), *option)
        assert code == 1
        assert f"{option[0]} is for CSV files only" in err
    assert json.loads(offtake("dataset", "list", "--json")[1]) == []


def test_a_batch_is_reverted_without_a_server_once(offtake: Offtake, file: Path) -> None:
    made = json.loads(offtake("dataset", "import", "towns", str(file), "--json")[1])
    batch = made["batch"]["id"]
    code, out, _ = offtake("batch", "revert", batch)
    assert (code, out) == (0, f"removed from dataset towns: 2 rows of batch {batch}\n")
    assert offtake("dataset", "preview", "towns")[1] == ""
    code, out, _ = offtake("batch", "revert", batch)
    assert (code, "already" in out) == (0, True)
    assert json.loads(offtake("batch", "show", batch)[1])["status"] == "inactive"
    audited = json.loads(offtake("audit", "list", "--json")[1])
    assert [one["action"] for one in audited].count("Revert") == 1
    assert offtake("batch", "revert", "nope")[0] == 1


def test_a_revert_that_was_cut_off_is_taken_over(offtake: Offtake, deployed: Deployment, file: Path) -> None:
    batch = json.loads(offtake("dataset", "import", "towns", str(file), "--json")[1])["batch"]["id"]
    with deployed.backend.database.writing() as session:
        row = session.get_one(Batch, batch)
        row.status = store.STAGED
        store.claim_batch(session, row, "dead", deployed.clock.now_ms(), 600_000)
    assert offtake("batch", "revert", batch)[0] == 0
    assert json.loads(offtake("batch", "show", batch)[1])["status"] == "inactive"


def test_a_batch_whose_rows_were_rewritten_stays_and_says_why(
    offtake: Offtake, deployed: Deployment, file: Path
) -> None:
    batch = json.loads(offtake("dataset", "import", "towns", str(file), "--json")[1])["batch"]["id"]
    with deployed.backend.database.writing() as session:
        session.get_one(Batch, batch).rows = 99
    code, out, err = offtake("batch", "revert", batch)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "compacted or deleted since" in err
    assert json.loads(offtake("batch", "show", batch)[1])["status"] == "success"


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "I/O error")])
def test_a_revert_that_fails_is_gone_on_with(
    offtake: Offtake, file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    batch = json.loads(offtake("dataset", "import", "towns", str(file), "--json")[1])["batch"]["id"]
    with monkeypatch.context() as patch:
        patch.setattr("offtake.lake.ingest.revert", raising(error))
        code, _, err = offtake("batch", "revert", batch)
    assert (code, err.count("\n")) == (1, 1)
    assert offtake("batch", "revert", batch)[0] == 0
    assert offtake("dataset", "preview", "towns")[1] == ""


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise error

    return fail
