"""The same rows give the same file: with any batch sizes, in any process and thread, on any processor."""

import hashlib
import os
import platform
import random
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.cli.sample_data import customer_events
from offtake.formats.gzip_members import compress_member
from offtake.formats.registry import format_for

LEVELS = range(1, 10)
ROWS = 16_384
EXPECTED = {
    1: "0e01ffde951dcf1f9c0365a50a29046ad7bedf464117b825502fa8ee6ba5fb76",
    2: "b6682e52f4c2de3014e435dfeec3bbda886e2b57f339ff6a789744424c2cfe5e",
    3: "7b1d034b8d30983bc417912ac06d03b8d5b33e7a71615b3e2ccab316b8e6f6da",
    4: "35da23304ab013dd1cb88054b479e396e99657e5c1170ae09287f3094d0fad0b",
    5: "3cc55363f7bd3dc68534b53f7666d1aacd8376f11bf8f8346f5b634d7085c720",
    6: "91779c5c330da3086240d49be5ed7c55f6ba61b42b09ed799b484648d22e63a7",
    7: "f96d5d01d1eb62f0cc2ac88cf7c80884d0374f8d77474f694d95c7561cac427f",
    8: "25138387c5a4868573f7e4d378362ef42c15f23cab9cd77ac64a44511b8fe3a8",
    9: "979c4932198ea125e28b2109af45747f7ba69666adb44eb915561296ab10ca12",
}
"""SHA-256 of the sample's file by level; new versions of the compressors can change them, but processors must not."""
ON_ARM = {
    1: "9058a376d4393f701cc21a7d1b550df6376dfe493779bdfbf22e55e01ed65149",
    2: "8082bcebbd65b8c8061f5ae03c026303a8cd786aaf1063a2272a383f38e41864",
    3: "8b52b2b9d6c27413f6bce6b806e860d12df166b01116a491dd92502a8bc6c546",
}
"""On ARM, where ISA-L finds other matches."""


@pytest.fixture(scope="module")
def sample() -> pa.Table:
    return make_sample()


def make_sample() -> pa.Table:
    """Rows whose text fills two blocks and a part of a third."""
    return pa.Table.from_batches(customer_events(ROWS, seed=1, start_ms=1_767_225_600_000))


def hash_file(table: pa.Table, batches: Iterable[pa.RecordBatch], level: int = 2) -> str:
    made = hashlib.sha256()
    for chunk in format_for("JSON", "GZIP").encode(table.schema, batches, level):
        made.update(chunk)
    return made.hexdigest()


def hash_sample() -> list[str]:
    """The sample's file at every level."""
    table = make_sample()
    return [hash_file(table, table.to_batches(), level) for level in LEVELS]


def test_batch_and_row_group_sizes_do_not_affect_the_file(sample: pa.Table, tmp_path: Path) -> None:
    found = {hash_file(sample, sample.to_batches(max_chunksize=rows)) for rows in (1_000, 4_097, 8_192, ROWS)}
    for rows in (999, 5_000, ROWS):
        file = tmp_path / f"{rows}.parquet"
        pq.write_table(sample, file, row_group_size=rows)
        found |= {hash_file(sample, pq.ParquetFile(file).iter_batches(size)) for size in (700, 8_192)}
    assert len(found) == 1


def test_other_threads_write_the_same_file(sample: pa.Table) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: hash_file(sample, sample.to_batches()), range(8)))) == 1


@pytest.mark.parametrize("filled", ["0", "85"])
def test_other_processes_write_the_same_file_with_any_memory_content(filled: str) -> None:
    command = [sys.executable, "-c", f"from {__name__} import hash_sample; print(*hash_sample())"]
    environment = os.environ | {"MALLOC_PERTURB_": filled, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    expected = EXPECTED | (ON_ARM if platform.machine() in ("aarch64", "arm64") else {})
    assert done.stdout.split() == list(expected.values())


def hash_pages() -> str:
    """Many pages at level 1 whose first bytes repeat, which determines ISA-L's first matches."""
    rest = random.Random(1).randbytes(4096) * 2
    made = hashlib.sha256()
    for number in range(10_000):
        beginning = number.to_bytes(4, "big") * 2
        made.update(compress_member(beginning + rest + beginning, 1))
    return made.hexdigest()


def test_pages_at_the_fastest_level_are_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", f"from {__name__} import hash_pages; print(hash_pages())"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = [subprocess.run(command, env=environment, capture_output=True, check=True).stdout for _ in range(2)]
    assert len(set(found)) == 1
