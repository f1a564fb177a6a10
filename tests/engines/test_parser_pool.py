"""Parsing in separate processes: same results as in-process, and a hostile file harms only its own process."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from offtake.engines import parser_process
from offtake.engines.parser_pool import Limits, ParserPool
from offtake.errors import CancelledError
from offtake.lake.commits import Attempt
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.csv_dialect import MalformedError
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile, input_file
from offtake.lake.parsing.options import ParseOptions
from tests import parquet_bombs
from tests.lake.lakes import TABLE, full, lake_in
from tests.local_parsers import LocalParsers
from tests.processes import running

GENEROUS = Limits(memory=2**30, seconds=60)
OPTIONS = ParseOptions()


def pool_in(folder: Path, limits: Limits = GENEROUS) -> ParserPool:
    return ParserPool(f"sqlite:///{folder / 'catalog.db'}", f"file://{folder / 'warehouse'}", limits)


@pytest.fixture(params=["processes", "here"])
def parsers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Parsers]:
    lake = lake_in(tmp_path)
    opened: Parsers = pool_in(tmp_path) if request.param == "processes" else LocalParsers(lake)
    yield opened
    opened.close()
    lake.close()


@pytest.fixture
def own_pool(tmp_path: Path) -> Iterator[ParserPool]:
    """A pool for one test, which may break it."""
    pool = pool_in(tmp_path)
    yield pool
    pool.close()


def written(folder: Path, name: str, text: str) -> InputFile:
    path = folder / name
    path.write_text(text)
    return input_file(path)


def rows_in(folder: Path) -> list[Any]:
    lake = lake_in(folder)
    try:
        return full(lake)
    finally:
        lake.close()


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> InputFile:
    """A file of a few kilobytes with so many rows that parsing never ends."""
    path = tmp_path_factory.mktemp("files") / "endless.parquet"
    parquet_bombs.write_endless(path)
    return input_file(path)


def readers() -> list[psutil.Process]:
    """The parser processes of this process, which are its children; not those of servers that it started."""
    return running("offtake.engines.parser_process", psutil.Process().children())


def kill_next(times: int) -> threading.Thread:
    """Kill `count` parser processes, each as soon as it has started."""

    def kill() -> None:
        killed: set[int] = set()
        while len(killed) < times:
            for one in readers():
                if one.pid not in killed:
                    killed.add(one.pid)
                    one.send_signal(signal.SIGSEGV)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_rows_are_imported_and_callables_run_in_the_server(parsers: Parsers, tmp_path: Path) -> None:
    asked: list[str] = []

    def may_rewrite() -> bool:
        asked.append("may_rewrite")
        return True

    for text in ('{"v": 1}\n', '{"v": 0.5}\n'):
        file = written(tmp_path, "a.json", text)
        attempt = Attempt(text, may_rewrite=may_rewrite, before_commit=lambda: asked.append("before_commit"))
        made = parsers.ingest(TABLE, [file], attempt, OPTIONS)
        assert made is not None
        assert made.rows == 1
    assert asked == ["before_commit", "may_rewrite", "before_commit"]
    assert sorted(float(row["v"]) for row in rows_in(tmp_path)) == [0.5, 1]


def test_refusals_name_file_and_row(parsers: Parsers, tmp_path: Path) -> None:
    file = written(tmp_path, "a.json", '{"v": 1}\n{"v": \n')
    for act in (parsers.ingest, parsers.dry_run):
        with pytest.raises(ImportRefusedError, match=r"a\.json, line 2") as refused:
            act(TABLE, [file], Attempt("a"), OPTIONS)
        assert refused.value.row == 2
    with pytest.raises(ImportRefusedError, match=r"empty\.json has no rows"):
        parsers.ingest(TABLE, [written(tmp_path, "empty.json", "")], Attempt("b"), OPTIONS, refuse_empty=True)


def test_a_dry_run_and_a_preview_write_nothing(parsers: Parsers, tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "id,city\n1,Bern\n2,Graz\n")
    found = parsers.dry_run(TABLE, [file], Attempt("a"), OPTIONS)
    assert (found.rows, found.columns_added) == (2, ("id", "city"))
    assert parsers.preview(file, OPTIONS, 1).to_pylist() == [{"id": "1", "city": "Bern"}]
    assert not list((tmp_path / "warehouse").rglob("*.parquet"))


@pytest.mark.parametrize("error", [ImportRefusedError("came in before"), CancelledError("lost")])
def test_errors_of_the_servers_callables_end_the_batch_and_leave_no_files(
    parsers: Parsers, tmp_path: Path, error: Exception
) -> None:
    def refuse() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        parsers.ingest(TABLE, [written(tmp_path, "a.json", '{"v": 1}\n')], Attempt("a", before_commit=refuse), OPTIONS)
    assert raised.value is error
    assert not list((tmp_path / "warehouse").rglob("*.parquet"))


def test_a_cancelled_batch_stops_and_its_process_is_reused(own_pool: ParserPool, tmp_path: Path) -> None:
    assert own_pool.ingest(TABLE, [written(tmp_path, "a.json", '{"v": 1}\n')], Attempt("a"), OPTIONS) is not None
    (reader,) = readers()
    file = written(tmp_path, "b.json", '{"v": 1}\n' * 500_000)
    looks = iter(range(10_000))
    begun = time.monotonic()
    with pytest.raises(CancelledError):
        own_pool.ingest(TABLE, [file], Attempt("b", stopped=lambda: next(looks) > 1), OPTIONS)
    assert time.monotonic() - begun < 30
    assert own_pool.ingest(TABLE, [written(tmp_path, "c.json", '{"v": 2}\n')], Attempt("c"), OPTIONS) is not None
    assert [one.pid for one in readers()] == [reader.pid]
    assert len(list((tmp_path / "warehouse").rglob("*.parquet"))) == 2


def test_the_server_can_unpickle_the_replacement_for_unpicklable_errors() -> None:
    sent = parser_process.as_sendable(MalformedError("length", 1))
    assert str(sent) == "MalformedError"
    # That module is `__main__` in the sending process.
    assert type(sent).__module__ != parser_process.__name__


def test_a_dead_process_is_replaced_and_the_batch_is_imported(own_pool: ParserPool, tmp_path: Path) -> None:
    killer = kill_next(1)
    file = written(tmp_path, "a.json", '{"v": 1}\n')
    made = own_pool.ingest(TABLE, [file], Attempt("a"), OPTIONS)
    killer.join()
    assert made is not None
    assert rows_in(tmp_path) == [{"v": 1}]


def test_files_that_crash_their_process_twice_are_refused(own_pool: ParserPool, endless: InputFile) -> None:
    killer = kill_next(2)
    with pytest.raises(ImportRefusedError, match=r"endless\.parquet cannot be read: .*crashed twice \(signal 11\)"):
        own_pool.ingest(TABLE, [endless], Attempt("a"), OPTIONS)
    killer.join()
    assert readers() == []


def test_files_that_exceed_the_time_limit_are_refused(tmp_path: Path, endless: InputFile) -> None:
    pool = pool_in(tmp_path, Limits(memory=2**30, seconds=3))
    try:
        with pytest.raises(ImportRefusedError, match=r"endless\.parquet .*more than \d+ seconds.*IMPORT_SECONDS"):
            pool.ingest(TABLE, [endless], Attempt("a"), OPTIONS)
        assert readers() == []
    finally:
        pool.close()


def test_files_that_exceed_the_memory_limit_are_refused(own_pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    parquet_bombs.write_growing(path)
    assert path.stat().st_size < 10_000
    with pytest.raises(ImportRefusedError, match=r"bomb\.parquet .*more than 1024 MiB.*OFFTAKE_IMPORT_MEMORY"):
        own_pool.ingest(TABLE, [input_file(path)], Attempt("a"), OPTIONS)
    assert readers() == []
    assert 1 <= len(own_pool.preview(input_file(path), OPTIONS, 100)) <= 8


def test_other_batches_are_imported_while_one_runs_for_ever(
    own_pool: ParserPool, tmp_path: Path, endless: InputFile
) -> None:
    over = threading.Event()
    stopped: list[bool] = []

    def hang() -> None:
        try:
            own_pool.ingest(TABLE, [endless], Attempt("a", stopped=over.is_set), OPTIONS)
        except CancelledError:
            stopped.append(True)

    hanging = threading.Thread(target=hang)
    hanging.start()
    try:
        made = own_pool.ingest(TABLE, [written(tmp_path, "b.json", '{"v": 2}\n')], Attempt("b"), OPTIONS)
        assert made is not None
    finally:
        over.set()
        hanging.join()
    assert stopped == [True]


def test_parser_processes_end_with_the_server(tmp_path: Path) -> None:
    code = (
        "import os,sys; from pathlib import Path; from tests.engines.test_parser_pool import *\n"
        "folder = Path(sys.argv[1]); pool = pool_in(folder)\n"
        "pool.preview(written(folder, 'a.csv', 'a\\n1\\n'), OPTIONS, 1)\n"
        "print(readers()[0].pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    reader = int(found.stdout)
    wait_until(lambda: not psutil.pid_exists(reader))


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
