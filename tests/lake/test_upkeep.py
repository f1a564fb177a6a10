"""Own tables are kept up: rows and increments stay, metadata is bounded, and nothing that is needed is removed."""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from offtake.lake import commits, ingest, scan, snapshot_history, upkeep
from offtake.lake.catalog import Lake
from offtake.lake.compaction import Compacted, compact
from offtake.lake.ingest import CommittedBatch
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.upkeep import Retention
from tests.lake.conftest import IN_S3_TOO
from tests.lake.lakes import TABLE, add, full, increment, numbered
from tests.matrix import examples

pytestmark = IN_S3_TOO

DAY = 86_400_000
LATER = 2**62
"""A time after all files and snapshots."""


def added(lake: Lake, count: int, first: int = 0) -> list[int]:
    """So many batches with a row each; the snapshots."""
    return [add(lake, numbered(n)) for n in range(first, first + count)]


def files(lake: Lake, ending: str = "") -> set[str]:
    return {one.name for one in lake.warehouse.files_in(lake.location(TABLE)) if one.name.endswith(ending)}


def live(lake: Lake) -> int:
    table = scan.open_table(lake, TABLE)
    assert table.current_snapshot is not None
    return len(table.full(table.current_snapshot).files)


def rows(lake: Lake) -> list[int]:
    return sorted(row["n"] for row in full(lake))


def keep(protected: Iterable[int] = (), batches: Iterable[str] = (), count: int = 1) -> Retention:
    return Retention(LATER, count, frozenset(protected), frozenset(batches))


def sweep(lake: Lake) -> int:
    found = upkeep.unreferenced_files(lake, TABLE, LATER, ())
    lake.warehouse.remove(found)
    return len(found)


def test_small_files_are_merged_and_every_increment_stays(lake: Lake) -> None:
    snapshots = added(lake, 14)
    positions = [snapshots[3], snapshots[12]]
    assert compact(lake, TABLE, [], 0) == Compacted()
    assert compact(lake, TABLE, positions, LATER) == Compacted()
    snapshots += added(lake, 12, 14)
    done = compact(lake, TABLE, positions, LATER)
    assert (done.files, done.into) == (13, 1)
    assert live(lake) == 26 - 13 + 1
    assert rows(lake) == list(range(26))
    for position in positions:
        at = snapshots.index(position)
        assert sorted(increment(lake, position)) == list(range(at + 1, 26))


def test_rows_of_two_age_groups_are_never_in_one_file(lake: Lake) -> None:
    snapshots = added(lake, 12)
    assert compact(lake, TABLE, [snapshots[-1]], LATER).files == 12
    compacted = lake.load(TABLE).current_snapshot()
    assert compacted is not None
    added(lake, 9, 12)
    # The output is as old as its rows, although its snapshot is younger than the position.
    assert compact(lake, TABLE, [snapshots[-1]], LATER) == Compacted()
    assert sorted(increment(lake, snapshots[-1])) == list(range(12, 21))
    added(lake, 2, 21)
    assert compact(lake, TABLE, [snapshots[-1]], LATER).files == 11
    plan = scan.open_table(lake, TABLE)
    assert plan.current_snapshot is not None
    assert len(plan.increment(snapshots[-1], plan.current_snapshot).files) == 1
    assert sorted(increment(lake, snapshots[-1])) == list(range(12, 23))


def test_a_merged_batch_cannot_be_reverted_and_others_can_without_their_snapshots(lake: Lake) -> None:
    made = [ingest.append(lake, TABLE, *_batch(n), f"batch-{n}") for n in range(12)]
    assert upkeep.expire_snapshots(lake, TABLE, keep()) == 11
    committed = [CommittedBatch(f"batch-{n}", one.snapshot_id, one.rows) for n, one in enumerate(made)]
    ingest.revert(lake, TABLE, committed[0])
    assert rows(lake) == list(range(1, 12))
    assert compact(lake, TABLE, [], LATER).files == 11
    with pytest.raises(ImportRefusedError, match="Batch batch-1 cannot be reverted or replaced: its rows have been"):
        ingest.revert(lake, TABLE, committed[1])
    assert rows(lake) == list(range(1, 12))


def _batch(n: int) -> tuple[list[pa.RecordBatch], pa.Schema]:
    batch = pa.RecordBatch.from_pylist(numbered(n))
    return [batch], batch.schema


def test_a_compaction_that_is_overtaken_is_committed_on_the_new_state_or_not_at_all(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(lake, 12)

    def during(what: Callable[[], object]) -> Compacted:
        real = scan.open_table
        done: list[object] = []

        def overtaken(*given: object) -> object:
            found = real(*given)  # type: ignore[arg-type]
            if not done:
                done.append(what())
            return found

        monkeypatch.setattr("offtake.lake.compaction.scan.open_table", overtaken)
        result = compact(lake, TABLE, [], LATER)
        monkeypatch.undo()
        return result

    assert during(lambda: add(lake, numbered(12))).files == 12
    assert rows(lake) == list(range(13))
    assert (live(lake), len(files(lake, ".parquet"))) == (2, 14)
    added(lake, 11, 13)
    removed = lake.load(TABLE)
    target = next(iter(scan.files_added_by(removed, removed.current_snapshot(), _snapshots(lake)[-1])))  # type: ignore[arg-type]

    def remove() -> None:
        table = lake.load(TABLE)
        with table.transaction() as transaction:
            commits.overwrite(transaction, [], [target], {})

    before = len(files(lake, ".parquet"))
    assert during(remove) == Compacted()
    assert rows(lake) == list(range(23))
    assert len(files(lake, ".parquet")) == before


def _snapshots(lake: Lake) -> list[int]:
    return [step.snapshot_id for step in snapshot_history.ancestry(lake, TABLE) or []]


def test_snapshots_expire_behind_every_position_and_those_of_open_batches_stay(lake: Lake) -> None:
    snapshots = added(lake, 8)
    assert upkeep.expire_snapshots(lake, TABLE, Retention(0, 100)) == 0
    assert upkeep.expire_snapshots(lake, TABLE, keep([snapshots[3], snapshots[6]])) == 3
    assert _snapshots(lake) == snapshots[3:]
    assert sorted(increment(lake, snapshots[3])) == [4, 5, 6, 7]
    batch = lake.load(TABLE).snapshot_by_id(snapshots[4])
    assert batch is not None
    assert batch.summary is not None
    assert upkeep.expire_snapshots(lake, TABLE, keep(batches=[batch.summary[commits.BATCH_ID] or ""])) == 3
    assert commits.find_commit(lake, TABLE, batch.summary[commits.BATCH_ID] or "") is not None
    assert rows(lake) == list(range(8))
    assert upkeep.expire_snapshots(lake, TABLE, keep(), least=2) == 0


def test_a_state_expires_by_the_time_at_which_the_next_one_replaced_it(lake: Lake) -> None:
    added(lake, 2)
    time.sleep(0.05)
    now_ms = time.time_ns() // 1_000_000
    added(lake, 1, 2)
    old, last_old, _ = _snapshots(lake)
    assert upkeep.expire_snapshots(lake, TABLE, Retention(now_ms, 100)) == 1
    assert _snapshots(lake)[0] == last_old != old


def test_the_oldest_snapshot_that_is_left_tells_that_others_expired(lake: Lake) -> None:
    added(lake, 3)
    first = (snapshot_history.ancestry(lake, TABLE) or [])[0]
    assert (first.rows, first.follows_expired) == (1, False)
    upkeep.expire_snapshots(lake, TABLE, Retention(0, 2))
    first = (snapshot_history.ancestry(lake, TABLE) or [])[0]
    assert (first.rows, first.follows_expired) == (2, True)


def test_only_old_files_that_nothing_refers_to_are_removed(lake: Lake) -> None:
    snapshots = added(lake, 12)
    table, folder = lake.load(TABLE), lake.location(TABLE)
    lake.warehouse.write(f"{folder}/data/left.parquet", [b"left"])
    lake.warehouse.write(f"{folder}/data/open-1-00000.parquet", [b"being written"])
    other = f"{lake.warehouse.location}/sales/orders2/data/a.parquet"
    lake.warehouse.write(other, [b"of another table"])
    now_ms = time.time_ns() // 1_000_000
    assert upkeep.unreferenced_files(lake, TABLE, now_ms + DAY - 60_000, ()) == []
    found = upkeep.unreferenced_files(lake, TABLE, now_ms + 2 * DAY, ["open"])
    assert found == [f"{folder}/data/left.parquet"]
    lake.warehouse.remove(found)
    compact(lake, TABLE, [], LATER)
    assert sweep(lake) == 1
    assert sorted(increment(lake, snapshots[0])) == list(range(1, 12))
    upkeep.expire_snapshots(lake, TABLE, keep())
    assert sweep(lake) > 24
    assert len(files(lake, ".parquet")) == 1
    assert rows(lake) == list(range(12))
    assert lake.warehouse.exists(other)
    assert table.metadata_location != lake.load(TABLE).metadata_location


@dataclass
class Flows:
    """Flows that deliver a table by increments; `positions`: the snapshots that they have delivered."""

    lake: Lake
    positions: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, list[int]] = field(default_factory=lambda: {"a": [], "b": []})

    def export(self, flow: str) -> None:
        to = scan.open_table(self.lake, TABLE).current_snapshot
        assert to is not None
        if flow not in self.positions:
            self.delivered[flow] += rows(self.lake)
        elif self.positions[flow] != to:
            self.delivered[flow] += increment(self.lake, self.positions[flow], to)
        self.positions[flow] = to


def test_any_order_of_imports_compactions_and_expiries_keeps_every_increment(lake: Lake) -> None:
    for seed in range(examples(8)):
        lake.purge(TABLE)
        chance, flows = random.Random(seed), Flows(lake)
        snapshots = added(lake, 1)
        for _ in range(30):
            held = flows.positions.values()
            match chance.randrange(5):
                case 0:
                    snapshots += added(lake, chance.randrange(1, 12), len(snapshots))
                case 1:
                    compact(lake, TABLE, list(held), LATER)
                case 2:
                    upkeep.expire_snapshots(lake, TABLE, keep(held, count=chance.randrange(1, 9)))
                case 3:
                    sweep(lake)
                case _:
                    flows.export(chance.choice("ab"))
        for flow in "ab":
            flows.export(flow)
            assert sorted(flows.delivered[flow]) == list(range(len(snapshots))), seed


def test_metadata_of_a_table_with_many_commits_is_bounded(lake: Lake) -> None:
    if lake.warehouse.access is not None:
        pytest.skip("the number of files is the same, and thousands of requests take long")
    added(lake, 1)
    size, most = list[int](), 80
    for _ in range(examples(20)):
        for _ in range(50):
            _append_nothing_real(lake.load(TABLE))
        for _ in range(3):
            _merge_manifests(lake)
        upkeep.expire_snapshots(lake, TABLE, keep(count=most))
        sweep(lake)
        assert len(lake.load(TABLE).metadata.snapshots) <= most
        size.append(sum(one.bytes for one in lake.warehouse.files_in(f"{lake.location(TABLE)}/metadata")))
        # The current metadata, the hundred before it, and for each snapshot a list and at most two manifests.
        assert len(files(lake, ".json")) <= 102
        assert len(files(lake, ".avro")) <= 3 * most + 110
    assert max(size[-3:]) < 1.5 * size[len(size) // 2] + 1_000_000


def _merge_manifests(lake: Lake) -> None:
    compact(lake, TABLE, [], 0)


def _append_nothing_real(table: Table) -> None:
    """A commit that adds a file which is never read."""
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"{table.location()}/data/none.parquet",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=0,
        file_size_in_bytes=1,
        spec_id=0,
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={},
        upper_bounds={},
        split_offsets=[],
    )
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as update:
        update.append_data_file(file)
