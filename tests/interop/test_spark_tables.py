"""Tables that Spark wrote: each snapshot in full, and each increment, has the rows that Spark itself reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import LocalStore

from offtake.errors import DeliveryError
from offtake.lake.storage import stores
from tests.interop.spark_tables import BUCKET, Rows, SparkTable, names, open_spark_table

VECTORS = "has deletion vectors, which exports do not support"
REFUSED: dict[str, str] = {
    "compaction_merge_on_read_v3": VECTORS,
    "delete_compaction_v3": VECTORS,
    "merge_on_read_partitioned_v3": VECTORS,
    "merge_on_read_v3": VECTORS,
    "not_matched_by_source_v3": VECTORS,
    "partition_evolution_v3": VECTORS,
}
"""Tables with snapshots that cannot be exported, and the reason; all their other snapshots must be equal."""
KEYS = {"s3.access-key-id": "unused", "s3.secret-access-key": "unused"}


@pytest.fixture
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SparkTable:
    root = tmp_path / BUCKET
    root.mkdir()
    monkeypatch.setattr(stores, "store_of", lambda _access, _place: LocalStore(root))
    return open_spark_table(request.param, root, KEYS)


@pytest.mark.parametrize("table", names(), indirect=True)
def test_every_snapshot_and_every_increment_has_the_rows_that_spark_reads(
    table: SparkTable, request: pytest.FixtureRequest
) -> None:
    refusals = [*full_exports(table), *increments(table)]
    reason = REFUSED.get(request.node.callspec.params["table"])
    if reason is None:
        assert refusals == []
    else:
        assert refusals, "this table is exported now: remove it from REFUSED"
        assert [one for one in refusals if not re.search(reason, one)] == []


def full_exports(table: SparkTable) -> Iterator[str]:
    """Compares every snapshot that is still there; yields the reasons of those refused."""
    for snapshot in table.scan.table.metadata.snapshots:
        try:
            found = table.delivered(table.scan.full(snapshot.snapshot_id))
        except DeliveryError as error:
            yield error.message
        else:
            same(found, table.snapshots[snapshot.snapshot_id].full, f"full {snapshot.snapshot_id}")


def increments(table: SparkTable) -> Iterator[str]:
    """Compares every increment; yields the reasons of those refused."""
    for number, upto in enumerate(table.main):
        for after in table.snapshots:
            if after in table.main[number:]:
                continue
            try:
                plan = table.scan.increment(after, upto)
                found = table.delivered(plan)
            except DeliveryError as error:
                yield error.message
                continue
            if plan.kind == "incremental":
                assert after in table.main
                expected = table.expected_increment(after, upto)
            else:
                assert (plan.warning or "").endswith("exported in full")
                assert after not in table.main or "cannot be distinguished" in (plan.warning or "")
                expected = table.snapshots[upto].full
            same(found, expected, f"{after} to {upto}")


def same(found: Rows, expected: Rows, what: str) -> None:
    missing, extra = dict(expected - found), dict(found - expected)
    assert (missing, extra) == ({}, {}), what
