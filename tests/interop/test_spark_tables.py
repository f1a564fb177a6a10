"""Tables that Spark wrote: each snapshot in full, and each increment, has the rows that Spark itself reads.

`OFFTAKE_TEST_WRITE_DOCS=1` writes the results into the docs; without it, they are compared.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import LocalStore

from offtake.errors import DeliveryError
from offtake.lake.storage import stores
from tests.cli.conftest import offtake as offtake  # noqa: PLC0414 - a fixture
from tests.cli.deliveries import Offtake
from tests.interop.duckdb.cases import CASES as DUCKDB
from tests.interop.spark.cases import CASES
from tests.interop.spark_tables import BUCKET, Rows, SparkTable, names, open_spark_table, unpack
from tests.matrix import whole

REFUSED: dict[str, str] = {"variant_v3": "type variant"}
"""Tables with snapshots that cannot be exported, and the reasons; all their other snapshots must be equal."""
KEYS = {"s3.access-key-id": "unused", "s3.secret-access-key": "unused"}
PAGE = Path(__file__).parents[2] / "docs" / "tables-by-others.md"
HEADING = "## Tested with Spark and DuckDB\n"
INTRODUCTION = """
Spark 4.1.4 with Iceberg 1.12.0 wrote these tables into an S3 server. The test suite exports each snapshot in full, and
each increment between two snapshots of the main branch, and compares the rows with those that Spark read. *Equal*: all
exports are. *Refused*: so are the exports that need what is named; all others are equal. `tests/interop/spark/cases.py`
has the statements; `make interop-all` runs them again. `tests/interop/test_spark_tables.py` generates this section.

| Feature | Format 1 | Format 2 | Format 3 |
|---|---|---|---|
"""

BY_DUCKDB = """
DuckDB 1.4.4 with its Iceberg extension wrote these tables through Iceberg's REST reference server:

| Feature | Format 2 |
|---|---|
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the bucket."""
    found = tmp_path / BUCKET
    found.mkdir()
    monkeypatch.setattr(stores, "store_of", lambda _access, _place: LocalStore(found))
    return found


@pytest.mark.search
@pytest.mark.parametrize("name", names())
def test_every_snapshot_and_every_increment_has_the_rows_that_spark_reads(name: str, root: Path) -> None:
    refusals = [*exports(name, root)]
    reason = REFUSED.get(name)
    if reason is None:
        assert refusals == []
    else:
        assert refusals, "this table is exported now: remove it from REFUSED"
        assert [one for one in refusals if not re.search(reason, one)] == []


def exports(name: str, root: Path) -> Iterator[str]:
    """Compares all exports of the table; yields the reasons of those refused."""
    try:
        table = open_spark_table(name, root, KEYS)
    except DeliveryError as error:
        yield error.message
        return
    yield from full_exports(table)
    yield from increments(table)


def full_exports(table: SparkTable) -> Iterator[str]:
    """Every snapshot that is still there."""
    for snapshot in table.scan.table.metadata.snapshots:
        try:
            found = table.delivered(table.scan.full(snapshot.snapshot_id))
        except DeliveryError as error:
            yield error.message
        else:
            same(found, table.snapshots[snapshot.snapshot_id].full, f"full {snapshot.snapshot_id}")


def increments(table: SparkTable) -> Iterator[str]:
    """Every increment to a snapshot of the main branch: by `make test`, those of one snapshot and to the last one."""
    for number, upto in enumerate(table.main):
        for after in table.snapshots:
            if after in table.main[number:]:
                continue
            if not whole() and upto != table.main[-1] and after not in table.main[number - 1 :]:
                continue
            try:
                plan = table.scan.increment(after, upto)
                found = table.delivered(plan)
            except DeliveryError as error:
                yield error.message
                continue
            if plan.kind == "full":
                assert (plan.warning or "").endswith("exported in full")
                assert after not in table.main or "cannot be distinguished" in (plan.warning or "")
                expected = table.snapshots[upto].full
            elif table.has_lineage(after, upto):
                expected = table.last_updated(after, upto)
            else:
                assert after in table.main
                expected = table.written(after, upto)
            same(found, expected, f"{after} to {upto}")


def same(found: Rows, expected: Rows, what: str) -> None:
    missing, extra = dict(expected - found), dict(found - expected)
    assert (missing, extra) == ({}, {}), what


def test_a_table_with_an_unsupported_type_cannot_be_registered(offtake: Offtake, root: Path) -> None:
    location = unpack("variant_v3", root)["metadata"]
    keys = [word for name, value in KEYS.items() for word in ("--property", f"{name}={value}")]
    assert offtake("catalog", "add", "spark", "--type", "files", *keys)[0] == 0
    code, _, err = offtake("dataset", "register", "data", "--catalog", "spark", "--metadata", location)
    assert (code, "a column of the unsupported type variant" in err, err.count("\n")) == (1, True, 1), err


def test_the_docs_have_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(HEADING)
    after = rest[rest.index("\n## ") :] if "\n## " in rest else ""
    written = before + HEADING + results() + after
    if os.environ.get("OFFTAKE_TEST_WRITE_DOCS"):
        PAGE.write_text(written, encoding="utf-8")
    assert written == page


def results() -> str:
    spark = "".join(f"| {case.feature} | {' | '.join(cells(name))} |\n" for name, case in CASES.items())
    duckdb = "".join(f"| {feature} | {result(f'{name}_v2')} |\n" for name, (feature, _, _) in DUCKDB.items())
    return INTRODUCTION + spark + BY_DUCKDB + duckdb


def cells(name: str) -> list[str]:
    versions = CASES[name].versions
    assert {f"{name}_v{version}" for version in versions} <= set(names())
    return [result(f"{name}_v{version}") if version in versions else "" for version in (1, 2, 3)]


def result(name: str) -> str:
    reason = REFUSED.get(name)
    return "equal" if reason is None else f"refused: {reason}"
