"""Many flows in a store, without anything behind them; and processes that do one thing to it at the same instant."""

import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from offtake.access import access, clients
from offtake.clock import Clock
from offtake.contract.entities import creation_columns
from offtake.flows.schedule import Schedule
from offtake.store.database import Database
from offtake.store.tables import Connection, Flow, SourceConnection, TargetConnection

PERIOD = 3 * 3600
DATASETS = ["one", "two"]

_TOGETHER = """
import logging, sys, time
from tests.fake_clock import FakeClock
from offtake.flows.failure_alerts import alert_failing_flows
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.store.database import Database
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s", level=logging.WARNING)
database = Database(sys.argv[1])
with database.reading():
    pass
print("ready", flush=True)
time.sleep(max(0, float(sys.stdin.readline()) - time.time()))
"""


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
    """Run a script in several processes from the same instant on; what each printed. All must end well."""
    command = [sys.executable, "-c", _TOGETHER + script, database.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, env=dict(os.environ), **pipes) for _ in range(processes)]  # type: ignore[call-overload] # the pipes are those of every overload
    for process in started:
        assert process.stdout.readline() == "ready\n", process.communicate()
    begin = time.time() + 0.2
    for process in started:
        process.stdin.write(f"{begin}\n")
        process.stdin.flush()
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [(error, code) for _, error, code in ended] == [("", 0)] * processes
    return [output for output, _, _ in ended]
