"""Many flows in a store, without anything behind them; and processes that do one thing to it at the same instant."""

import contextlib
import logging
import tempfile
from dataclasses import asdict
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from offtake.access import access, clients
from offtake.clock import Clock
from offtake.contract.entities import creation_columns
from offtake.flows.failure_alerts import alert_failing_flows
from offtake.flows.flow_ends import report_ends
from offtake.flows.schedule import Schedule
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.store.database import Database
from offtake.store.tables import Connection, Flow, SourceConnection, TargetConnection
from tests.commands import context
from tests.fake_clock import FakeClock

PERIOD = 3 * 3600
DATASETS = ["one", "two"]


def crowd(database: Database, clock: Clock, count: int, **columns: Any) -> list[str]:
    """So many enabled flows that are due now and every three hours; their ids."""
    clients.create_organisation(database, clock)
    caller = access.operator_caller(database)
    now = clock.now_seconds()
    standard = {"name": "n", "description": None, "state": "enabled", "connection_spec_id": "spec"}
    source, base, target = (standard | creation_columns(caller, clock.now_ms()) for _ in range(3))
    schedule = Schedule("FIRST_FULL_THEN_INCREMENTAL", "hour", 3, now, None, False, None)
    with database.writing() as session:
        nothing = {"auth_spec_name": None, "auth_public": None, "auth_sealed": None, "encryption": None}
        session.add(Connection(**base, **nothing))
        session.flush()
        session.add(SourceConnection(**source, base_connection_id=base["id"], dataset_ids=DATASETS, data=None))
        session.add(TargetConnection(**target, base_connection_id=base["id"], params={}))
        session.flush()
        flow = creation_columns(caller, clock.now_ms()) | {
            "name": "flow",
            "description": None,
            "state": "enabled",
            "flow_spec_id": "spec",
            "source_connection_id": source["id"],
            "target_connection_id": target["id"],
            "schedule": asdict(schedule),
            "next_run_s": now,
            "policy": None,
            "last_operation": {},
            "last_run_id": None,
            "last_run_state": None,
            "last_run_started_at": None,
            "last_run_completed_at": None,
            "failures": 0,
            "failing_since": None,
        }
        ids = sorted(str(uuid4()) for _ in range(count))
        session.execute(insert(Flow), [flow | columns | {"id": one} for one in ids])
    return ids


def together(database: Database, script: str, processes: int = 2) -> list[str]:
    """Run a script in several processes from the same instant on; what each printed. All must end well.

    The script finds `database`, `FakeClock` and the functions that ticks call.
    """
    barrier = context.Barrier(processes)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(processes)]
        started = [context.Process(target=_do, args=(script, database.url, barrier, str(file))) for file in files]
        for process in started:
            process.start()
        for process in started:
            process.join(60)
        assert [process.exitcode for process in started] == [0] * processes
        return [file.read_text() for file in files]


def _do(script: str, url: str, barrier: Barrier, output: str) -> None:
    names = {
        "FakeClock": FakeClock,
        "alert_failing_flows": alert_failing_flows,
        "enqueue_due_runs": enqueue_due_runs,
        "report_ends": report_ends,
        "repair_future_slots": repair_future_slots,
        "database": Database(url),
    }
    with Path(output).open("w") as file, contextlib.redirect_stdout(file):
        logging.basicConfig(stream=file, format="%(levelname)s %(message)s", level=logging.WARNING, force=True)
        with names["database"].reading():  # type: ignore[attr-defined] # the last one is a database
            pass
        names["database"].observers.append(lambda event: print(event.kind, event.flow_id))  # type: ignore[attr-defined]
        barrier.wait(60)
        exec(script, names)  # noqa: S102 - a test's own
