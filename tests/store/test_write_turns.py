"""Writers of one process wait in order, for as long as they say, and few of them while nothing moves."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from offtake.store import write_turns
from offtake.store.database import Database, StoreBusyError
from offtake.store.write_turns import NoTurnError, WriteTurns, lock_wait


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'store.db'}")
    with database.writing() as session:
        session.execute(text("CREATE TABLE things (name TEXT)"))
    yield database
    database.close()


def write(database: Database, seconds: float) -> float:
    """Try to write for so long; the seconds that it took."""
    began = time.monotonic()
    reset = lock_wait.set(seconds)
    try:
        with database.writing() as session:
            session.execute(text("INSERT INTO things VALUES ('one')"))
    except StoreBusyError:
        return time.monotonic() - began
    finally:
        lock_wait.reset(reset)
    raise AssertionError("it was written")


def test_while_another_process_writes_requests_give_up_soon_and_readers_are_answered(store: Database) -> None:
    other = sqlite3.connect(store.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(40) as pool:
        tries = [pool.submit(write, store, 3.0) for _ in range(40)]
        time.sleep(0.2)
        began = time.monotonic()
        with store.reading() as session:
            assert session.scalars(text("SELECT name FROM things")).all() == []
        assert time.monotonic() - began < 2
        took = sorted(one.result() for one in tries)
    assert took[-1] < 8
    # All but those in front leave when nothing has moved for a second.
    assert took[40 - 10] < 2.9
    other.execute("ROLLBACK")
    other.close()
    with store.writing() as session:
        session.execute(text("INSERT INTO things VALUES ('two')"))


def test_when_every_connection_is_taken_the_store_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offtake.store.database._POOL_SECONDS", 0.1)
    database = Database(f"sqlite:///{tmp_path / 'small.db'}")
    with ExitStack() as taken:
        for _ in range(15):
            taken.enter_context(database.reading()).execute(text("SELECT 1"))
        with pytest.raises(StoreBusyError), database.reading() as session:
            session.execute(text("SELECT 1"))
    with database.reading() as session:
        assert session.scalar(text("SELECT 1")) == 1
    database.close()


def test_patient_work_outlasts_another_process_that_writes(store: Database) -> None:
    other = sqlite3.connect(store.url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(1.5, lambda: other.execute("ROLLBACK")).start()
    with store.writing() as session:
        session.execute(text("INSERT INTO things VALUES ('one')"))
    other.close()


def test_turns_come_in_the_order_they_were_asked_for() -> None:
    turns, order = WriteTurns(), []

    def wait(number: int) -> None:
        with turns.turn():
            order.append(number)

    with turns.turn():
        threads = [threading.Thread(target=wait, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert order == list(range(12))


def test_a_crowd_of_requests_waits_while_turns_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_turns, "_STUCK_SECONDS", 0.3)
    turns, done = WriteTurns(), []

    def wait(number: int) -> None:
        lock_wait.set(20.0)
        with turns.turn():
            time.sleep(0.05)
            done.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(30))


def test_an_abandoned_turn_is_skipped() -> None:
    turns = WriteTurns()
    reset = lock_wait.set(0.2)
    with turns.turn(), ThreadPoolExecutor(1) as pool:

        def impatient() -> None:
            lock_wait.set(0.2)
            with pytest.raises(NoTurnError), turns.turn():
                raise AssertionError("it had a turn")

        pool.submit(impatient).result()
    lock_wait.reset(reset)
    with turns.turn():
        pass
