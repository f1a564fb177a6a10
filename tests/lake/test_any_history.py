"""Property test: after any sequence of table changes, the increments together have exactly the expected rows.

Random sequences of operations by users and engines are executed on a real table and on a model. The model tracks rows:
the file that contains them, and whether they are due, that is, added or rewritten since the last export.
"""

import copy
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from pyiceberg.manifest import DataFileContent, ManifestContent
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType

from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.deletes import partition_of
from offtake.lake.locations import local_path
from offtake.lake.relocation import Move
from offtake.lake.table_names import TableName
from tests.lake.format_3 import upgrade, writing_format_3
from tests.lake.lakes import TABLE, add, lake_in, move_warehouse, read
from tests.lake.other_writers import Bounds, append_again, compact, delete_by_vectors, delete_keys, entries, row_delta
from tests.matrix import examples

EXAMPLES = int(os.environ.get("OFFTAKE_TEST_HISTORIES", examples(30)))
BITS = st.integers(0, 2**16 - 1)
COMMON = {
    "append": 4,
    "append_twice": 1,
    "compact": 5,
    "positions": 4,
    "equal": 3,
    "delete": 2,
    "overwrite": 1,
    "export": 1,
}
RARE = (
    "upgrade",
    "widen",
    "rename",
    "add_column",
    "partition",
    "branch",
    "tag",
    "roll_back",
    "expire",
    "expire_one",
    "recreate",
)
SCHEMA = pa.schema([("n", pa.int64()), ("k", pa.int64()), ("v", pa.int32())])
WEIGHTED = [*(name for name, weight in COMMON.items() for _ in range(weight * 8)), *RARE, "move"]
ACTIONS = st.lists(st.tuples(st.sampled_from(WEIGHTED), BITS), min_size=5, max_size=18)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},  # which would take minutes
)
@given(st.sampled_from((2, 3)), ACTIONS)
def test_increments_have_the_rows_added_since_the_last_export_that_still_exist(
    version: int, actions: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(lake_in(Path(folder)))
        try:
            if version > 2:
                act(history, "upgrade", 0)
            for action, bits in actions:
                act(history, action, bits)
            history.export()
        finally:
            history.lake.close()


def act(history: "History", action: str, bits: int) -> None:
    if action == "export":
        history.export()
        return
    with writing_format_3():
        ACT[action](history, bits)


@dataclass
class Blend:
    """Files with rows from both before and after the last export; `whole`: none of these rows was removed."""

    whole: bool = True


@dataclass
class File:
    """A data file: its rows in order, the positions of deleted ones, and whether they are due.

    `due`: all rows, none, or (a blend) only those in `fresh`.
    """

    rows: list[int]
    due: bool | Blend
    fresh: Counter[int] = field(default_factory=Counter)
    deleted: set[int] = field(default_factory=set)

    @property
    def live(self) -> list[int]:
        return [row for at, row in enumerate(self.rows) if at not in self.deleted]

    @property
    def due_rows(self) -> Counter[int]:
        return self.fresh & Counter(self.live)


Key = tuple[str, int]
"""A path and the snapshot that added it; a table can contain a file several times."""


@dataclass
class History:
    """The table, its model, and the last exported snapshot."""

    lake: Lake
    name: TableName = TABLE
    newest: int = 0
    files: dict[Key, File] = field(default_factory=dict)
    position: int = 0
    main: list[int] = field(default_factory=list)
    states: dict[int, tuple[int, dict[Key, File]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        add(self.lake, self.new_rows(2), SCHEMA, self.name)
        self.came(due=True)
        self.export_as_first()

    @property
    def table(self) -> Table:
        return self.lake.load(self.name)

    def new_rows(self, count: int) -> list[dict[str, int]]:
        first, self.newest = self.newest + 1, self.newest + count
        return rows_of(range(first, first + count))

    def rows_for(self, count: int) -> pa.Table:
        """New rows with values in the original columns; columns added later are null."""
        return self.in_columns(self.new_rows(count))

    def in_columns(self, original: list[dict[str, int]]) -> pa.Table:
        schema = self.table.schema().as_arrow()
        rows = [{named(schema.names, key): value for key, value in row.items()} for row in original]
        return pa.Table.from_pylist(rows, pa.schema([one for one in schema if one.name in rows[0]]))

    def came(self, *, due: bool) -> None:
        """The files added to the table since the last call, and those removed."""
        now = entries(self.table)
        for key in set(now) - set(self.files):
            rows = numbers(key)
            self.files[key] = File(rows, due, Counter(rows if due else ()))
        for key in set(self.files) - set(now):
            if isinstance(gone := self.files.pop(key).due, Blend):
                gone.whole = False
        self.remember()

    def remember(self) -> None:
        """The new snapshots of main, with the state after the last of them."""
        table = self.table
        found, snapshot = list[int](), table.current_snapshot()
        while snapshot is not None and snapshot.snapshot_id not in self.main:
            found.append(snapshot.snapshot_id)
            parent = snapshot.parent_snapshot_id
            snapshot = table.snapshot_by_id(parent) if parent is not None else None
        self.main += found[::-1]
        self.states[self.main[-1]] = self.position, copy.deepcopy(self.files)

    def reachable(self) -> bool:
        alive = {one.snapshot_id for one in self.table.metadata.snapshots}
        return self.position in self.main and alive.issuperset(self.main[self.main.index(self.position) :])

    def export_as_first(self) -> None:
        self.position = self.main[-1]
        for one in self.files.values():
            one.due, one.fresh = False, Counter()
        self.states[self.main[-1]] = self.position, copy.deepcopy(self.files)

    def export(self) -> None:
        at = scan.open_table(self.lake, self.name).current_snapshot
        assert at == self.main[-1]
        plan = scan.open_table(self.lake, self.name).increment(self.position, at)
        distinguishable = all(one.due.whole for one in self.files.values() if isinstance(one.due, Blend))
        if self.reachable() and distinguishable:
            event("incremental, through a blend" if self.blended() else "incremental")
            assert (plan.kind, plan.warning) == ("incremental", None)
            assert self.delivered(plan) == sum((one.due_rows for one in self.files.values()), Counter())
        else:
            event("full: not distinguishable" if self.reachable() else "full: not reachable")
            assert plan.kind == "full"
            assert plan.warning is not None
            assert self.delivered(plan) == Counter(self.live())
        assert self.delivered(scan.open_table(self.lake, self.name).full(at)) == Counter(self.live())
        self.export_as_first()

    def blended(self) -> bool:
        return any(isinstance(one.due, Blend) for one in self.files.values())

    def live(self) -> list[int]:
        return [row for one in self.files.values() for row in one.live]

    def in_order(self) -> list[tuple[Key, File]]:
        """The files in a reproducible order; their names are random."""
        return sorted(self.files.items(), key=lambda one: (one[1].rows, self.main.index(one[0][1])))

    def delivered(self, plan: scan.ScanPlan) -> Counter[int]:
        rows = read(self.lake, plan.files, plan.snapshot_id, most_rows=2, table=self.name)
        for row in rows:
            assert row[named(row, "v")] == row["n"] * 10
            assert row[named(row, "k")] == row["n"] % 2
        return Counter(row["n"] for row in rows)


def rows_of(numbers: Iterable[int]) -> list[dict[str, int]]:
    return [{"n": n, "k": n % 2, "v": n * 10} for n in numbers]


def numbers(key: Key) -> list[int]:
    """The rows of a file, by their numbers."""
    found: list[int] = pq.read_table(local_path(key[0])).column("n").to_pylist()
    return found


def named(names: Iterator[str] | list[str] | dict[str, object], start: str) -> str:
    """The current name of a column; each renaming appends to it."""
    return next(name for name in names if name.startswith(start))


def append(history: History, bits: int) -> None:
    rows = history.rows_for(1 + bits % 4)
    if bits % 2 and history.table.spec().is_unpartitioned():
        # Our own files have no field ids, PyIceberg's files have them.
        schema = pa.schema([pa.field(one.name, one.type) for one in rows.schema])
        add(history.lake, rows.to_pylist(), schema, history.name)
    else:
        history.table.append(rows)
    history.came(due=True)


def append_twice(history: History, bits: int) -> None:
    """Append a file that is already in the table."""
    known = entries(history.table)
    ordered = [key for key, _ in history.in_order() if known[key].spec_id == history.table.spec().spec_id]
    # A vector applies to all entries of a path, and has the positions of the earlier ones.
    if ordered and history.table.metadata.format_version < 3:
        append_again(history.table, known[ordered[bits % len(ordered)]])
        history.came(due=True)


def overwrite(history: History, bits: int) -> None:
    """Overwrite: replace some rows with new ones; files that lose rows are rewritten without them."""
    least, most = some(history, bits)
    if any(least <= row <= most for row in history.live()) and not has_equality_deletes(history.table):
        history.table.overwrite(history.rows_for(1 + bits % 3), f"n >= {least} and n <= {most}")
        history.came(due=True)


def delete(history: History, bits: int) -> None:
    """Copy-on-write."""
    least, most = some(history, bits)
    if any(least <= row <= most for row in history.live()) and not has_equality_deletes(history.table):
        history.table.delete(f"n >= {least} and n <= {most}")
        history.came(due=True)
        assert not any(least <= row <= most for row in history.live())


def some(history: History, bits: int) -> tuple[int, int]:
    least = 1 + bits % history.newest
    return least, least + (0, 0, 1, 2, 3, 30)[(bits >> 8) % 6]


def positions(history: History, bits: int) -> None:
    """Merge-on-read: delete rows of some files by position files or vectors; the same commit can add rows."""
    picked = {}
    for number, ((path, _), one) in enumerate(history.in_order()):
        chosen = [at for at, row in enumerate(one.rows) if (bits >> ((number * 3 + at) % 16)) & 1]
        if chosen:
            picked[path] = chosen[:2]
    if not picked:
        return
    rows = history.rows_for(1) if bits % 5 == 0 else None
    if history.table.metadata.format_version < 3:
        choices: tuple[Bounds, ...] = ("none", "exact", "range")
        bounds = choices[bits % 3]
        row_delta(history.table, picked, bounds if len(picked) == 1 or bounds != "exact" else "range", rows=rows)
    else:
        event("deletion vectors")
        paths = Counter(path for path, _ in history.files)
        picked = {path: one for path, one in picked.items() if paths[path] == 1}
        merged = {path: {*picked[path], *one.deleted} for (path, _), one in history.files.items() if path in picked}
        delete_by_vectors(history.table, {path: sorted(one) for path, one in merged.items()}, rows=rows)
    for (path, _), one in history.files.items():
        if path not in picked:
            continue
        if isinstance(one.due, Blend):
            one.due.whole = False
        one.deleted |= set(picked[path])
    history.came(due=True)


def equal(history: History, bits: int) -> None:
    """Merge-on-read: delete rows by keys, of one partition or all; an upsert adds new rows with these keys."""
    least, most = some(history, bits)
    keys, known = range(least, min(most, history.newest) + 1), entries(history.table)
    ordered = [key for key, _ in history.in_order()]
    about = known[ordered[bits % len(ordered)]] if ordered and bits & 4 else None
    scoped = about is not None and len(about.partition)
    rows = history.in_columns(rows_of(keys)) if bits & 2 else None
    event("upsert" if rows is not None else "equality deletes")
    applied = [
        one
        for key, one in history.files.items()
        if not scoped or (about and partition_of(known[key]) == partition_of(about))
    ]
    for one in applied:
        one.deleted |= {at for at, row in enumerate(one.rows) if row in keys}
    for one in history.files.values():
        # Keys of one partition can apply to some of the files with mixed rows only.
        if (
            isinstance(one.due, Blend)
            and not any(one is other for other in applied)
            and any(other.due is one.due for other in applied)
        ):
            one.due.whole = False
    spec_id = None if scoped else 0
    table_keys = pa.table({"n": pa.array(keys, pa.int64())})
    delete_keys(history.table, table_keys, about=about if scoped else None, spec_id=spec_id, rows=rows)
    history.came(due=True)


def has_equality_deletes(table: Table) -> bool:
    """Whether the table has equality deletes: PyIceberg cannot read it then."""
    snapshot = table.current_snapshot()
    return snapshot is not None and any(
        entry.data_file.content == DataFileContent.EQUALITY_DELETES
        for manifest in snapshot.manifests(table.io)
        if manifest.content == ManifestContent.DELETES
        for entry in manifest.fetch_manifest_entry(table.io)
    )


def compaction(history: History, bits: int) -> None:
    table = history.table
    files = entries(table)
    ordered = [path for (path, _), _ in history.in_order()]
    paths = {path for number, path in enumerate(ordered) if bits >> (number % 12) & 1 or bits % 3 == 0}
    chosen = [key for key in files if key[0] in paths]
    if not chosen:
        return
    before = {key: history.files[key] for key in chosen}
    rows = None
    if has_equality_deletes(table):
        plan = scan.open_table(history.lake, history.name).full(history.main[-1])
        read_rows = read(
            history.lake, [one for one in plan.files if one.path in paths], plan.snapshot_id, table=history.name
        )
        assert Counter(row["n"] for row in read_rows) == Counter(row for key in chosen for row in before[key].live)
        # They have the snapshot's names; a column can have been renamed since.
        schema = table.schema().as_arrow()
        renamed = [{named(schema.names, name): row[named(row, name)] for name in SCHEMA.names} for row in read_rows]
        rows = pa.Table.from_pylist(renamed, schema)
    compact(table, paths, 1 + (bits >> 12) % 2, drop_deletes=bool(bits >> 13 & 1), rows=rows)
    after = {key: file for key, file in entries(history.table).items() if key not in files}
    # Compactions keep partitions, unless the partition spec changed: then all files are compacted together.
    same_spec = len({file.spec_id for file in [*(files[key] for key in chosen), *after.values()]}) == 1
    groups = {str(file.partition) if same_spec else "" for file in [*after.values(), *(files[key] for key in chosen)]}
    for key in chosen:
        del history.files[key]
    for group in groups:
        of_group = [one for key, one in before.items() if not same_spec or str(files[key].partition) == group]
        fresh = sum((one.due_rows for one in of_group), Counter[int]())
        due: bool | Blend = all(one.due is True for one in of_group)
        if not due and any(one.due is not False for one in of_group):
            due = merged(history, [one.due for one in of_group if isinstance(one.due, Blend)])
        for key, file in after.items():
            if not same_spec or str(file.partition) == group:
                rows = numbers(key)
                history.files[key] = File(rows, due, fresh & Counter(rows))
                fresh -= history.files[key].fresh
    history.came(due=False)


def merged(history: History, blends: list[Blend]) -> Blend:
    """Merge several blends into one, including all their files."""
    made = Blend(whole=all(one.whole for one in blends))
    for one in history.files.values():
        if any(one.due is blend for blend in blends):
            one.due = made
    return made


def widen(history: History, _: int) -> None:
    table = history.table
    with table.update_schema() as update:
        update.update_column(named(table.schema().column_names, "v"), LongType())


def rename(history: History, _: int) -> None:
    table = history.table
    name = named(table.schema().column_names, "v")
    with table.update_schema() as update:
        update.rename_column(name, name + "x")


def add_column(history: History, bits: int) -> None:
    table = history.table
    name = f"added_{len(table.schemas())}"
    with table.update_schema() as update:
        update.add_column(name, LongType())
        if bits % 2:
            update.move_first(name)


def partition(history: History, bits: int) -> None:
    table = history.table
    with table.update_spec() as update:
        if table.spec().is_unpartitioned():
            update.add_field("k", IdentityTransform(), f"k_{bits}")
        else:
            update.remove_field(table.spec().fields[-1].name)


def branch(history: History, _: int) -> None:
    """Write to another branch, which starts at main's current or a former snapshot."""
    table = history.table
    if "side" not in table.metadata.refs:
        table.manage_snapshots().create_branch(history.main[-1], "side").commit()
    history.table.append(history.rows_for(1), branch="side")


def tag(history: History, bits: int) -> None:
    history.table.manage_snapshots().create_tag(history.main[-1], f"tag_{bits}_{len(history.main)}").commit()


def roll_back(history: History, bits: int) -> None:
    alive = {one.snapshot_id for one in history.table.metadata.snapshots}
    reached = list[int]()
    for snapshot in reversed(history.main):
        if snapshot not in alive:
            break
        reached.append(snapshot)
    target = reached[bits % len(reached)]
    if target not in history.states:
        return
    history.table.manage_snapshots().rollback_to_snapshot(target).commit()
    del history.main[history.main.index(target) + 1 :]
    position, files = history.states[target]
    history.files = copy.deepcopy(files)
    # Rows due then are due now only if nothing was exported since; otherwise the position is unreachable.
    assert history.position in {position, target} or not history.reachable()


def expire(history: History, _: int) -> None:
    table = history.table
    kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
    gone = [one.snapshot_id for one in table.metadata.snapshots if one.snapshot_id not in kept]
    if gone:
        table.maintenance.expire_snapshots().by_ids(gone).commit()


def expire_one(history: History, bits: int) -> None:
    table = history.table
    kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
    gone = sorted(one.snapshot_id for one in table.metadata.snapshots if one.snapshot_id not in kept)
    if gone:
        table.maintenance.expire_snapshots().by_id(gone[bits % len(gone)]).commit()


def recreate(history: History, _: int) -> None:
    history.lake.catalog.drop_table(history.name)
    add(history.lake, history.new_rows(2), SCHEMA, history.name)
    history.main, history.files, history.states = [], {}, {}
    history.came(due=True)


def move(history: History, _: int) -> None:
    """Move the warehouse to another folder, possibly inside the old one; refused with deletion vectors."""
    if history.table.metadata.format_version > 2:
        return
    old = local_path(history.table.location()).parents[1]
    new = old / "moved" if len(history.main) % 2 else old.with_name(f"{old.name}-moved")
    history.lake, moving = move_warehouse(history.lake, old, new)
    history.files = moved(history.files, moving)
    history.states = {key: (position, moved(files, moving)) for key, (position, files) in history.states.items()}


def moved(files: dict[Key, File], moving: Move) -> dict[Key, File]:
    return {(moving.new_location(path), snapshot): one for (path, snapshot), one in files.items()}


def upgrade_format(history: History, _: int) -> None:
    if history.table.metadata.format_version < 3:
        upgrade(history.table)


ACT: dict[str, Callable[[History, int], None]] = {
    "append": append,
    "append_twice": append_twice,
    "overwrite": overwrite,
    "delete": delete,
    "positions": positions,
    "equal": equal,
    "compact": compaction,
    "upgrade": upgrade_format,
    "widen": widen,
    "rename": rename,
    "add_column": add_column,
    "partition": partition,
    "branch": branch,
    "tag": tag,
    "roll_back": roll_back,
    "expire": expire,
    "expire_one": expire_one,
    "recreate": recreate,
    "move": move,
}
