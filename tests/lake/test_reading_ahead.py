"""Files in object stores are read ahead: in few requests, within a limit of memory, and of one version only."""

import base64
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from offtake.errors import CancelledError, DeliveryError
from offtake.formats.registry import format_for
from offtake.lake import reading
from offtake.lake.parts import FileSlice, TableSchema
from offtake.lake.storage import files
from offtake.lake.storage.files import StoreFile
from offtake.lake.storage.read_ahead import ReadAhead
from tests.object_server import ObjectServer, object_server

MIB = 1024 * 1024
LOCATION, PATH = "s3://bucket/data/a.parquet", "/bucket/data/a.parquet"


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectServer]:
    with object_server() as found:
        yield found


@pytest.fixture
def server(running: ObjectServer) -> ObjectServer:
    running.objects.clear()
    running.requests.clear()
    running.keys.clear()
    running.before, running.cuts = None, 0
    return running


def field(number: int, name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, metadata={b"PARQUET:field_id": str(number).encode()})


def schema(*kinds: pa.DataType) -> pa.Schema:
    return pa.schema([field(number, f"c{number}", kind) for number, kind in enumerate(kinds, start=1)])


def table(rows: int, columns: int) -> pa.Table:
    """Random numbers, which no codec makes smaller."""
    draw = np.random.default_rng(1)
    arrays = [pa.array(draw.integers(0, 2**62, rows)) for _ in range(columns)]
    return pa.Table.from_arrays(arrays, schema=schema(*[pa.int64()] * columns))


def stored(server: ObjectServer, rows: pa.Table, **options: Any) -> FileSlice:
    """The rows as the server's object, and the slice that is the whole file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, **options)
    server.objects[PATH] = sink.getvalue().to_pybytes()
    return FileSlice(LOCATION, 0, None, rows.num_rows, len(server.objects[PATH]))


def delivered(of: pa.Schema) -> TableSchema:
    return TableSchema(base64.b64encode(of.serialize().to_pybytes()).decode(), "{}", None)


def read(server: ObjectServer, piece: FileSlice, of: pa.Schema, **options: Any) -> pa.Table:
    return pa.Table.from_batches(reading.read([piece], delivered(of), server.access(), **options), of)


CONTENT = np.random.default_rng(2).bytes(300_000)
OFFSETS = some.integers(0, len(CONTENT) + 10)
RANGES = some.tuples(OFFSETS, OFFSETS).map(lambda pair: (min(pair), max(pair)))


@settings(max_examples=60, deadline=None)
@given(
    plan=some.lists(some.lists(RANGES, max_size=4), max_size=4),
    acts=some.lists(some.tuples(some.sampled_from(["set", "move", "end", "read"]), some.integers(-70_000, 70_000))),
    most=some.sampled_from([1, 50_000, 10**9]),
    size=some.sampled_from([None, len(CONTENT), 1, len(CONTENT) + 100_000]),
)
def test_a_stored_file_reads_as_the_same_bytes_in_memory(
    running: ObjectServer, plan: Any, acts: list[tuple[str, int]], most: int, size: int | None
) -> None:
    running.objects["/bucket/x"] = CONTENT
    running.before, running.cuts = None, 0
    expected = io.BytesIO(CONTENT)
    with StoreFile(running.access(), "s3://bucket/x", size, ReadAhead(most_bytes=most)) as found:
        found.read_ahead(plan)
        for act, number in acts:
            if act == "read":
                assert found.read(number if number >= 0 else -1) == expected.read(number if number >= 0 else -1)
            else:
                origin = {"set": io.SEEK_SET, "move": io.SEEK_CUR, "end": io.SEEK_END}[act]
                at = max(0, {"set": 0, "move": expected.tell(), "end": len(CONTENT)}[act] + number)
                assert found.seek(number, origin) == expected.seek(at)
            assert found.tell() == expected.tell()


@pytest.mark.parametrize("content", [b"", b"x", b"y" * 100_000])
@pytest.mark.parametrize("size", [None, 0, 1, 99_999, 100_000, 500_000])
def test_a_wrong_size_in_the_metadata_is_corrected(server: ObjectServer, content: bytes, size: int | None) -> None:
    server.objects["/bucket/x"] = content
    with StoreFile(server.access(), "s3://bucket/x", size) as found:
        assert (found.size(), found.read()) == (len(content), content)


def test_a_small_file_is_one_request_and_row_groups_share_requests(server: ObjectServer) -> None:
    rows = table(20_000, 3)
    assert read(server, stored(server, rows), rows.schema) == rows
    assert len(server.requests) == 1
    server.requests.clear()
    rows = table(800_000, 4)
    piece = stored(server, rows, row_group_size=20_000)
    assert read(server, piece, rows.schema) == rows
    assert piece.bytes > 24 * MIB
    assert len(server.requests) <= 6
    assert server.sent <= piece.bytes + 64 * 1024


@pytest.mark.parametrize("columns", [1, 4, 40])
def test_a_large_row_group_is_not_held_in_memory(server: ObjectServer, columns: int) -> None:
    rows = table(12_000_000 // columns, columns)
    piece = stored(server, rows, use_dictionary=False, row_group_size=rows.num_rows)
    assert piece.bytes > 88 * MIB
    ahead: list[int] = []
    done = 0
    for batch in reading.read([piece], delivered(rows.schema), server.access()):
        done += batch.num_rows
        ahead.append(server.sent - batch.nbytes * done // batch.num_rows)
    assert done == rows.num_rows
    assert max(ahead) < 64 * MIB
    assert server.sent < piece.bytes + MIB  # nothing is fetched twice


def test_columns_that_are_not_delivered_are_not_fetched(server: ObjectServer) -> None:
    rows = table(100_000, 100)
    piece = stored(server, rows)
    wanted = pa.schema([rows.schema.field(20), rows.schema.field(70)])
    assert read(server, piece, wanted) == rows.select([20, 70])
    assert server.sent < piece.bytes // 20


def test_many_files_are_opened_at_the_same_time(server: ObjectServer) -> None:
    rows = table(1000, 2)
    piece = stored(server, rows)
    for number in range(40):
        server.objects[f"/bucket/{number}"] = server.objects[PATH]
    running, most, lock = 0, 0, threading.Lock()

    def wait(_path: str) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    server.before = wait
    pieces = [replace(piece, path=f"s3://bucket/{number}") for number in range(40)]
    found = sum(one.num_rows for one in reading.read(pieces, delivered(rows.schema), server.access()))
    assert (found, len(server.requests)) == (40_000, 40)
    assert most >= 4


def test_a_file_that_cannot_be_opened_fails_by_its_own_name(server: ObjectServer) -> None:
    rows = table(1000, 2)
    piece = stored(server, rows)
    batches = reading.read([piece, replace(piece, path="gs://b/x")], delivered(rows.schema), server.access())
    assert next(batches).num_rows == 1000
    with pytest.raises(DeliveryError, match="gs://b/x cannot be read") as failed:
        next(batches)
    assert "not in the store of its catalog" in failed.value.remedy


def test_pages_are_copied_in_few_requests_with_their_indexes(server: ObjectServer, tmp_path: Path) -> None:
    rows = table(400_000, 6)
    piece = stored(server, rows, row_group_size=20_000, write_page_index=True, data_page_size=20_000)
    from_pages = format_for("PARQUET", "GZIP").from_pages
    assert from_pages is not None
    made = {}
    local = tmp_path / "a.parquet"
    local.write_bytes(server.objects[PATH])
    for access, path in ((None, str(local)), (server.access(), LOCATION)):
        with reading.unchanged_row_groups([replace(piece, path=path)], delivered(rows.schema), access) as found:
            assert found is not None
            made[path] = b"".join(from_pages(rows.schema, found, 1)[1])
    assert made[str(local)] == made[LOCATION]
    assert len(server.requests) <= 5
    assert server.sent <= piece.bytes + 64 * 1024


def changed(server: ObjectServer, after: int) -> Callable[[str], None]:
    """Replaces the object by another one of the same size after so many answers."""
    answered = 0

    def change(_path: str) -> None:
        nonlocal answered
        answered += 1
        if answered == after:
            server.objects[PATH] = server.objects[PATH][:-1] + b"x"

    return change


@pytest.mark.parametrize("after", [2, 3])
def test_an_object_that_is_replaced_while_it_is_read_fails_by_name(server: ObjectServer, after: int) -> None:
    rows = table(800_000, 4)
    piece = stored(server, rows, row_group_size=20_000)
    server.before = changed(server, after)
    with pytest.raises(DeliveryError, match=r"a\.parquet was replaced while it was read") as failed:
        read(server, piece, rows.schema)
    assert failed.value.transient


def test_a_truncated_object_and_a_missing_one_fail_by_name(server: ObjectServer) -> None:
    rows = table(800_000, 4)
    piece = stored(server, rows, row_group_size=20_000)
    server.objects[PATH] = server.objects[PATH][: piece.bytes // 2]
    with pytest.raises(DeliveryError, match=r"a\.parquet cannot be read: it is not a Parquet file, or it is truncated"):
        read(server, piece, rows.schema)
    del server.objects[PATH]
    with pytest.raises(DeliveryError, match=r"a\.parquet does not exist"):
        read(server, piece, rows.schema)


def test_an_answer_that_is_cut_off_fails_the_part_for_now(server: ObjectServer) -> None:
    rows = table(800_000, 4)
    piece = stored(server, rows, row_group_size=20_000)
    server.cuts = 10
    with pytest.raises(DeliveryError, match="The store could not be reached or did not answer as expected") as failed:
        read(server, piece, rows.schema)
    assert failed.value.transient


def test_credentials_are_renewed_between_the_requests_of_a_file(server: ObjectServer) -> None:
    rows = table(800_000, 4)
    piece = stored(server, rows, row_group_size=20_000)
    lent: list[str] = []

    def renew() -> Any:
        lent.append(f"key{len(lent)}")
        return replace(access, properties={**access.properties, "s3.access-key-id": lent[-1]}, expires_ms=1000)

    access = replace(server.access(), expires_ms=1000)
    access = replace(access, renewal=renew)
    found = sum(one.num_rows for one in reading.read([piece], delivered(rows.schema), access))
    assert found == rows.num_rows
    assert len(set(server.keys)) > 2
    assert set(server.keys) <= set(lent)


def stopping(server: ObjectServer) -> Callable[[], None]:
    """A check that stops the work once a request has reached the server."""

    def check() -> None:
        if server.asked.is_set():
            raise CancelledError("stop")

    return check


def copy(server: ObjectServer, piece: FileSlice, of: pa.Schema, **options: Any) -> None:
    with reading.unchanged_row_groups([piece], delivered(of), server.access(), **options):
        pass


@pytest.mark.parametrize("work", [read, copy])
def test_work_that_waits_for_a_store_that_never_answers_ends_when_it_is_cancelled(work: Callable[..., Any]) -> None:
    with object_server() as server:
        rows = table(100_000, 4)
        piece = stored(server, rows)
        server.hangs.set()
        began = time.monotonic()
        with pytest.raises(CancelledError):
            work(server, piece, rows.schema, check=stopping(server))
        assert time.monotonic() - began < 5


def test_a_process_ends_while_a_request_hangs() -> None:
    with object_server() as server:
        server.hangs.set()
        code = (
            "from offtake.lake.storage.access import FileAccess\n"
            "from offtake.lake.storage.files import StoreFile\n"
            f"file = StoreFile(FileAccess('s3', {dict(server.access().properties)!r}), {LOCATION!r})\n"
            "print(input())"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True) as process:
            assert server.asked.wait(30)
            began = time.monotonic()
            process.communicate("end\n")
            assert process.returncode == 0
            assert time.monotonic() - began < 5


def test_metadata_files_are_one_request(server: ObjectServer) -> None:
    server.objects["/bucket/m.json"] = b"{}" * 500_000
    assert files.read_whole("s3://bucket/m.json", server.access()) == b"{}" * 500_000
    assert len(server.requests) == 1
