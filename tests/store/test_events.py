"""Events are stored and passed on with their transaction, or not at all."""

import logging

import pytest
from sqlalchemy import select, update

from offtake import logs
from offtake.store import events
from offtake.store.database import Database
from offtake.store.events import Event
from offtake.store.tables import EventRow
from tests.conftest import NOON


class BrokenError(Exception):
    pass


def started(number: int = 1, at_ms: int = NOON) -> Event:
    return Event("run.taken_over", "sandbox", at_ms, run_id=f"run {number}", fields={"attempt": number})


def _record_and_fail(database: Database) -> None:
    with database.writing() as session:
        events.record(session, started())
        raise BrokenError


def stored(database: Database) -> list[str | None]:
    with database.reading() as session:
        return list(session.scalars(select(EventRow.run_id).order_by(EventRow.id)))


def test_the_events_of_a_committed_transaction_are_stored_and_passed_on_in_order(database: Database) -> None:
    seen: list[Event] = []
    database.observers.append(seen.append)
    with database.writing() as session:
        for number in range(20):
            events.record(session, started(number))
        events.log_only(session, started(20))
        assert seen == []
    assert seen == [started(number) for number in range(21)]
    assert stored(database) == [f"run {number}" for number in range(20)]
    with database.reading() as session:
        row = session.scalars(select(EventRow).order_by(EventRow.id.desc())).first()
        assert row is not None
        assert (row.kind, row.at, row.fields, row.handled_at) == ("run.taken_over", NOON, {"attempt": 19}, None)


def test_the_events_of_a_transaction_that_is_rolled_back_never_happened(database: Database) -> None:
    seen: list[Event] = []
    database.observers.append(seen.append)
    with pytest.raises(BrokenError):
        _record_and_fail(database)
    with database.dry_run() as session:
        events.record(session, started())
        events.log_only(session, started())
    assert (seen, stored(database)) == ([], [])


def test_an_observer_that_fails_is_logged_once_and_disturbs_no_other(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_event: Event) -> None:
        raise BrokenError

    seen: list[Event] = []
    database.observers += [fail, seen.append]
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            with database.writing() as session:
                events.record(session, started(number))
    assert len(seen) == len(stored(database)) == 3
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["an observer of events fails"]


def test_an_event_has_the_id_of_the_request_that_is_being_served(database: Database) -> None:
    reset = logs.request_id.set("request 7")
    try:
        with database.writing() as session:
            events.record(session, started())
    finally:
        logs.request_id.reset(reset)
    with database.reading() as session:
        assert session.scalars(select(EventRow.request_id)).one() == "request 7"


def test_old_events_are_deleted_a_page_at_a_time_and_unhandled_ones_much_later(database: Database) -> None:
    with database.writing() as session:
        for number in range(5):
            events.record(session, started(number, NOON + number))
        session.execute(update(EventRow).where(EventRow.run_id != "run 1").values(handled_at=NOON))
    with database.writing() as session:
        assert events.delete_old(session, NOON + 4, 2) == 2
        assert events.delete_old(session, NOON + 4, 2) == 1
    assert stored(database) == ["run 1", "run 4"]
    with database.writing() as session:
        assert events.delete_old(session, NOON + 4 + 90 * 86_400_000, 9) == 2
