"""A batch is committed once, with any number of concurrent attempts and retries; it can be reverted and replaced."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.errors import CancelledError
from offtake.lake import ingest, scan
from offtake.lake.catalog import Lake
from offtake.lake.ingest import Attempt, Batch, CommittedBatch
from offtake.lake.parsing import parse as parsing
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile, input_file
from offtake.lake.table_names import TableName
from tests.lake.conftest import IN_S3_TOO
from tests.lake.lakes import TABLE, Row, add, full, increment, ndjson, numbered, read
from tests.lake.other_writers import compact

pytestmark = IN_S3_TOO


def source(folder: Path, rows: Sequence[Row], name: str = "rows.json") -> InputFile:
    folder.mkdir(exist_ok=True)
    return input_file(ndjson(folder / name, rows))


def bring_in(lake: Lake, folder: Path, batch_id: str, rows: Sequence[Row], **more: Any) -> Batch:
    made = ingest.ingest(lake, TABLE, [source(folder, rows)], Attempt(batch_id, **{"evolve": True, **more}))
    assert made is not None
    return made


def data_files(lake: Lake) -> set[str]:
    found = lake.warehouse.files_in(lake.location(TABLE))
    return {one.name for one in found if one.name.endswith(".parquet")}


def live(lake: Lake) -> set[str]:
    snapshot = scan.open_table(lake, TABLE).current_snapshot
    assert snapshot is not None
    return {Path(file.path).name for file in scan.open_table(lake, TABLE).full(snapshot).files}


def held(lake: Lake) -> list[int]:
    return sorted(row["n"] for row in full(lake))


def landed(batch_id: str, made: Batch) -> CommittedBatch:
    return CommittedBatch(batch_id, made.snapshot_id, made.rows)


def test_a_retried_batch_is_committed_once(lake: Lake, tmp_path: Path) -> None:
    first = bring_in(lake, tmp_path, "a", numbered(1, 2))
    add(lake, numbered(3))
    again = bring_in(lake, tmp_path, "a", numbered(1, 2), number=2)
    assert again == first == ingest.find_commit(lake, TABLE, "a")
    assert held(lake) == [1, 2, 3]
    assert len(lake.load(TABLE).metadata.snapshots) == 2
    assert data_files(lake) == live(lake)


def test_concurrent_attempts_commit_a_batch_once_and_create_the_table(
    lake: Lake, open_lake: Callable[[], Lake], tmp_path: Path
) -> None:
    files = [source(tmp_path / str(n), numbered(1, 2)) for n in range(4)]
    ready, made = threading.Barrier(4), list[Batch | None]()

    def attempt(number: int) -> None:
        own = open_lake()
        ready.wait()
        made.append(ingest.ingest(own, TABLE, [files[number]], Attempt("a", number + 1)))

    run_all([partial(attempt, n) for n in range(4)])
    assert len(set(made)) == 1
    assert held(lake) == [1, 2]
    assert len(lake.load(TABLE).metadata.snapshots) == 1
    assert data_files(lake) == live(lake)


def test_concurrent_first_batches_are_all_committed(lake: Lake, open_lake: Callable[[], Lake], tmp_path: Path) -> None:
    kinds: list[list[Row]] = [[{"n": 1, "x": 1}], [{"n": 2, "x": 2}], [{"n": 3, "y": "a"}], [{"n": 4, "z": {"b": 1}}]]
    files = [source(tmp_path / str(n), rows) for n, rows in enumerate(kinds)]
    ready = threading.Barrier(4)

    def attempt(number: int) -> None:
        own = open_lake()
        ready.wait()
        ingest.ingest(own, TABLE, [files[number]], Attempt(f"batch{number}", evolve=True))

    run_all([partial(attempt, n) for n in range(4)])
    assert held(lake) == [1, 2, 3, 4]
    assert [row["x"] for row in sorted(full(lake), key=lambda row: row["n"])] == [1, 2, None, None]
    assert len(lake.load(TABLE).metadata.snapshots) == 4


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Other writers commit while an import reads its rows."""

    def overtake(others: Callable[[], object]) -> None:
        original, waiting = parsing._Parser.rows, [others]  # noqa: SLF001 - the moment between planning and committing

        def rows(*args: Any) -> Any:
            yield from original(*args)
            if waiting:
                waiting.pop()()

        monkeypatch.setattr(parsing._Parser, "rows", rows)  # noqa: SLF001 - as above

    return overtake


def test_rows_are_read_again_when_a_concurrent_import_creates_the_table_with_other_types(
    lake: Lake, tmp_path: Path, overtaken: Callable[[Callable[[], object]], None]
) -> None:
    late = source(tmp_path, [{"n": 2, "share": 1}], "late.json")
    overtaken(lambda: add(lake, [{"n": 1, "share": 0.5}]))
    assert ingest.ingest(lake, TABLE, [late], Attempt("late")) is not None
    assert sorted((row["n"], row["share"]) for row in full(lake)) == [(1, 0.5), (2, 1.0)]
    assert data_files(lake) >= live(lake)
    assert len(data_files(lake)) == 2


def test_rows_that_no_longer_match_the_table_are_refused_and_leave_no_files(
    lake: Lake, tmp_path: Path, overtaken: Callable[[Callable[[], object]], None]
) -> None:
    late = source(tmp_path, [{"n": 2, "share": "x"}], "late.json")
    overtaken(lambda: add(lake, [{"n": 1, "share": 1}]))
    with pytest.raises(ImportRefusedError, match="line 1: column share is long in the dataset, but the file has text"):
        ingest.ingest(lake, TABLE, [late], Attempt("late"))
    assert held(lake) == [1]
    assert data_files(lake) == live(lake)


def test_files_of_dead_attempts_are_deleted_and_no_others(lake: Lake, tmp_path: Path) -> None:
    bring_in(lake, tmp_path, "a", numbered(1))
    bring_in(lake, tmp_path, "b", numbered(2), number=3)
    for name in ("b-1-00000.parquet", "b-2-00000.parquet", "b-2-00001.parquet"):
        lake.warehouse.write(f"{lake.location(TABLE)}/data/{name}", [b"cut off"])
    ingest.clear(lake, TABLE, "b")
    ingest.clear(lake, TABLE, "a")
    assert data_files(lake) == live(lake)
    assert held(lake) == [1, 2]


def test_a_cancelled_batch_leaves_no_files(lake: Lake, tmp_path: Path) -> None:
    one = source(tmp_path, numbered(1))
    for after in range(3):
        stopped = partial(next, iter([False] * after), True)
        with pytest.raises(CancelledError):
            ingest.ingest(lake, TABLE, [one], Attempt("a", stopped=stopped))
        assert lake.tables_in("sales") == []
        assert data_files(lake) == set()
    assert not lake.exists(TABLE)


def test_errors_name_the_row_that_does_not_match(lake: Lake, tmp_path: Path) -> None:
    add(lake, [{"n": 1, "small": 1}], pa.schema([("n", pa.int64()), ("small", pa.int64())]))
    values = [*range(20_000), 0.5, 1.5]
    pq.write_table(pa.table({"n": range(20_002), "small": pa.array(values, pa.float64())}), tmp_path / "a.parquet")
    with pytest.raises(ImportRefusedError, match=r"a\.parquet, row 20001: column small") as refused:
        ingest.ingest(lake, TABLE, [input_file(tmp_path / "a.parquet")], Attempt("a"))
    assert refused.value.row == 20_001


def test_a_batch_without_rows_creates_no_table_and_no_snapshot(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\n\n")
    (tmp_path / "b.csv").write_bytes(b"")
    (tmp_path / "c.csv").write_text("id,name\n")
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "d.parquet")
    empty = [input_file(path) for path in sorted(tmp_path.glob("?.*"))]
    assert len(empty) == 4
    assert ingest.ingest(lake, TABLE, empty, Attempt("a")) is None
    assert not lake.exists(TABLE)
    assert data_files(lake) == set()
    assert ingest.ingest(lake, TABLE, [*empty, source(tmp_path, numbered(1))], Attempt("a")) is not None
    assert ingest.ingest(lake, TABLE, empty, Attempt("b")) is None
    assert held(lake) == [1]
    assert len(lake.load(TABLE).metadata.snapshots) == 1


def test_a_batch_is_reverted_once_with_one_snapshot(lake: Lake, tmp_path: Path) -> None:
    first = bring_in(lake, tmp_path, "a", numbered(1, 2))
    add(lake, numbered(3))
    out = landed("a", first)
    ingest.revert(lake, TABLE, out)
    ingest.revert(lake, TABLE, out)
    assert held(lake) == [3]
    assert len(lake.load(TABLE).metadata.snapshots) == 3
    plan = scan.open_table(lake, TABLE).increment(first.snapshot_id, scan.open_table(lake, TABLE).current_snapshot or 0)
    assert plan.deleted_rows == 2
    assert increment(lake, first.snapshot_id) == [3]


def test_rows_reverted_before_their_export_are_not_exported(lake: Lake, tmp_path: Path) -> None:
    start = add(lake, numbered(1))
    ingest.revert(lake, TABLE, landed("a", bring_in(lake, tmp_path, "a", numbered(2, 3))))
    assert increment(lake, start) == []


def test_reverting_a_compacted_batch_is_refused_with_the_reason(lake: Lake, tmp_path: Path) -> None:
    made = bring_in(lake, tmp_path, "a", numbered(1, 2))
    add(lake, numbered(3))
    compact(lake.load(TABLE))
    with pytest.raises(ImportRefusedError, match="compacted or deleted since"):
        ingest.revert(lake, TABLE, landed("a", made))
    with pytest.raises(ImportRefusedError, match="compacted or deleted since"):
        bring_in(lake, tmp_path, "b", numbered(9), replaces=(landed("a", made),))
    assert held(lake) == [1, 2, 3]
    assert data_files(lake) >= live(lake)
    assert not [name for name in data_files(lake) if name.startswith("b-")]


def test_a_batch_replaces_others_in_one_snapshot(lake: Lake, tmp_path: Path) -> None:
    old = [landed(name, bring_in(lake, tmp_path, name, numbered(n))) for n, name in enumerate("abc")]
    before = scan.open_table(lake, TABLE).current_snapshot
    rows: list[Row] = [{"n": 7, "city": "x", "new": [1]}, {"n": 8, "city": "y", "new": None}]
    for number in (1, 2):
        made = bring_in(lake, tmp_path, "d", rows, number=number, replaces=tuple(old[:2]))
    assert held(lake) == [2, 7, 8]
    assert len(lake.load(TABLE).metadata.snapshots) == 4
    assert before is not None
    assert sorted(increment(lake, before)) == [7, 8]
    plan = scan.open_table(lake, TABLE).increment(before, made.snapshot_id)
    assert [row["new"] for row in read(lake, plan.files, made.snapshot_id)] == [[1], None]
    ingest.revert(lake, TABLE, landed("d", made))
    assert held(lake) == [2]


def test_a_batch_without_rows_can_replace_others(lake: Lake, tmp_path: Path) -> None:
    old = landed("a", bring_in(lake, tmp_path, "a", numbered(1)))
    add(lake, numbered(2))
    made = ingest.ingest(lake, TABLE, [], Attempt("b", replaces=(old,)))
    assert made is not None
    assert (made.rows, made.files) == (0, 0)
    assert held(lake) == [2]


def test_purge_deletes_all_files_and_tables_in_lists_leftover_folders(lake: Lake) -> None:
    add(lake, numbered(1))
    other = TableName("sales.other")
    lake.warehouse.write(f"{lake.warehouse.location}/sales/left/data/a.parquet", [b"cut off"])
    assert lake.tables_in("sales") == ["sales.left", "sales.orders"]
    for table in (TABLE, other, TableName("sales.left")):
        lake.purge(table)
    assert lake.tables_in("sales") == lake.tables_in("nothing") == []
    assert list(lake.warehouse.files_in(f"{lake.warehouse.location}/sales")) == []


def run_all(work: Sequence[Callable[[], object]]) -> None:
    failed: list[BaseException] = []

    def carried_out(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - asserted below
            failed.append(error)

    threads = [threading.Thread(target=carried_out, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
