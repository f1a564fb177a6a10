"""What an increment costs that finds nothing new: a tick, a claim, a plan and a commit, in a process of its own.

`python -m bench.performance.increment FOLDER TIMES` prints the processor seconds of each such run over the table in a
data directory. The clock is moved by a slot before each, so that the tick finds the flow due.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import update

import offtake.__main__  # noqa: F401 - as in our processes: hides numpy and pandas from Arrow
from bench.performance.data import DATASET, deployment
from bench.performance.server import FLOW_SPEC, LAKE, ZONE
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.engines.local import LocalEngine
from offtake.flows import connections, flows, source_connections, target_connections
from offtake.scheduling.background import worker_of
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.tables import Flow, Run
from tests.fake_clock import FakeClock


def _main(folder: Path, times: int) -> None:
    clock = FakeClock(time.time_ns() // 1_000_000)
    with deployment(folder, clock) as (backend, caller):
        engine = LocalEngine(1)
        try:
            flow = _flow(backend, caller)
            worker = worker_of(backend, engine, "bench")
            seconds = []
            for _ in range(times + 2):
                began = time.process_time()
                runs = enqueue_due_runs(backend.database, clock)
                assert worker.run_next(threading.Event())
                seconds.append(time.process_time() - began)
                _check(backend, runs, flow)
                clock.advance(hours=3)
        finally:
            engine.close()
    # The first run exported in full; the second warmed up.
    print(json.dumps(seconds[2:]))


def _check(backend: Backend, runs: list[str], flow: str) -> None:
    with backend.database.reading() as session:
        (run,) = [session.get_one(Run, run) for run in runs]
        assert (run.flow_id, run.status) == (flow, "success"), run.errors


def _flow(backend: Backend, caller: Caller) -> str:
    """A flow that is due every three hours; earlier ones are disabled, so that it alone is."""
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        session.execute(update(Flow).values(state="disabled"))
        made: dict[str, Any] = {"name": "s", "connectionSpec": LAKE, "params": {"datasets": [{"dataSetId": DATASET}]}}
        source = source_connections.create(session, caller, made, now)
        zone = {"name": "zone", "connectionSpec": ZONE}
        base = connections.create(session, caller, backend.vault, backend.network, zone, now)
        session.flush()
        params: dict[str, Any] = {"path": f"increment-{now}", "datasetFileType": "PARQUET", "compression": "GZIP"}
        params |= {"includeFileManifest": True}
        aim = {"name": "t", "baseConnectionId": base.id, "connectionSpec": ZONE, "params": params}
        target = target_connections.create(session, caller, aim, now)
        session.flush()
        schedule = {"timeUnit": "hour", "interval": 3, "startTime": now // 1000}
        ends = {"sourceConnectionIds": [source.id], "targetConnectionIds": [target.id]}
        body: dict[str, Any] = {"name": "f", "flowSpec": FLOW_SPEC, "scheduleParams": schedule, **ends}
        flow = flows.create(session, caller, body, now, backend.schedule_rules)
        session.flush()
        return flow.id


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
