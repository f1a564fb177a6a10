"""Statements of background loops and requests find their rows by an index, on both databases.

What counts is the table that grows: nothing may read all of the runs, their parts, the batches or the audit log. Plans
are those that the databases make for the statements as they are sent, with their parameters.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from sqlalchemy import event, select

from offtake.alerts import messages
from offtake.catalog import dataset_details, dataset_lists, import_drafts
from offtake.engines.local import LocalEngine
from offtake.flows import dataset_exports, owed
from offtake.flows.failure_alerts import alert_failing_flows
from offtake.flows.flow_ends import report_ends
from offtake.metrics.store_state import read_state
from offtake.scheduling.background import limits_of
from offtake.scheduling.expiry import Expiry
from offtake.scheduling.housekeeping import run_maintenance
from offtake.scheduling.notifier import Notifier
from offtake.scheduling.scheduler import repair_future_slots
from offtake.store import quotas, tables
from offtake.store.tables import Run
from tests.alerts.receivers import Receiver
from tests.alerts.world import World
from tests.conftest import NOON
from tests.deployment import FLOW_SERVICE, Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.info_items import failure
from tests.postgres import migrated_database

GROWING: Final = (
    "runs",
    "run_parts",
    "run_datasets",
    "batches",
    "batch_files",
    "audit_events",
    "events",
    "alert_messages",
    "usage",
)
SMALL: Final = {
    str(index.name)
    for table in Run.metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
"""Indexes of what is not over: they stay small, and may be read whole."""


@dataclass
class Plans:
    """By statement: how a table that grows is read whole."""

    scans: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    steps: list[str] = field(default_factory=list)
    """Of SQLite's plans."""

    def explain(self, cursor: Any, dialect: str, statement: str, parameters: Any) -> None:
        if statement in self.seen or not statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            return
        self.seen.add(statement)
        if dialect == "sqlite":
            self.steps += _steps(cursor, statement, parameters)
        problems = {"sqlite": _sqlite, "postgresql": _postgres}[dialect](cursor, statement, parameters)
        if problems:
            self.scans[statement] = " | ".join(problems)


def _steps(cursor: Any, statement: str, parameters: Any) -> list[str]:
    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return [row[3] for row in cursor.fetchall()]


def _sqlite(cursor: Any, statement: str, parameters: Any) -> list[str]:
    steps = _steps(cursor, statement, parameters)
    # A page in the order of an index ends where the page does.
    in_order = "LIMIT" in statement and not any("TEMP B-TREE" in step for step in steps)
    found = []
    for step in steps:
        scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
        if scan and scan[1] in GROWING and not (scan[2] in SMALL or (scan[2] and in_order)):
            found.append(step)
    return found


def _postgres(cursor: Any, statement: str, parameters: Any) -> list[str]:
    # Of tables this small, all would be read whole; without that, a sequential scan is one that cannot be avoided.
    cursor.execute("SET enable_seqscan = off")
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    plan = cursor.fetchone()[0]
    cursor.execute("RESET enable_seqscan")
    whole = plan if isinstance(plan, list) else json.loads(plan)
    return list(_whole(whole[0]["Plan"], limited="LIMIT" in statement))


def _whole(node: Mapping[str, Any], *, limited: bool) -> Iterator[str]:
    table, kind, index = node.get("Relation Name"), node["Node Type"], node.get("Index Name")
    by_index = index in SMALL or "Index Cond" in node or limited
    if table in GROWING and (kind == "Seq Scan" or (index and not by_index)):
        yield f"{kind} on {table} {index or ''} {node.get('Filter', '')}"
    for child in node.get("Plans", ()):
        yield from _whole(child, limited=limited)


@contextmanager
def explaining(deployed: Deployment) -> Iterator[Plans]:
    """Explain each statement that is sent to the store, before it is sent."""
    plans, engine = Plans(), deployed.backend.database.engine

    def explain(connection: Any, _: Any, statement: str, parameters: Any, __: Any, many: bool) -> None:
        if many:
            return
        cursor = connection.connection.cursor()
        try:
            plans.explain(cursor, engine.dialect.name, statement, parameters)
        finally:
            cursor.close()

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def delivered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine
) -> Iterator[tuple[Deployment, str]]:
    """A deployment on each database, with a flow that has delivered; and the flow's id."""
    more = {} if request.param == "sqlite" else {"database_url": migrated_database(request.getfixturevalue("postgres"))}
    with deployment(tmp_path_factory.mktemp("plans") / "data", FakeClock(NOON), engine, **more) as opened:
        flow = opened.flow(opened.import_rows("events", rows(0, 3)))
        opened.run_due()
        yield opened, flow


def notify(deployed: Deployment) -> None:
    """Group events and send a message, which a closed port refuses."""
    World(deployed, Receiver(port=1)).rule_and_event()
    notifier = Notifier(deployed.backend)
    notifier.group()
    assert notifier.send_all() > 0
    with deployed.backend.database.writing() as session:
        messages.delete_old(session, deployed.clock.ms)


def test_background_loops_read_no_table_that_grows(delivered: tuple[Deployment, str]) -> None:
    deployed, _ = delivered
    backend, database = deployed.backend, deployed.backend.database
    expiry = Expiry(database, deployed.clock, limits_of(backend.settings), alert_seconds=1)
    deployed.import_rows("events", rows(3, 3))
    assert deployed.http.put(f"{FLOW_SERVICE}/quotas/rows", json={"limit": 1_000_000}).status_code == 200
    deployed.clock.advance(hours=3)
    with explaining(deployed) as plans:
        deployed.run_due()
        quotas.settle_all(database, deployed.clock.now_ms())
        deployed.ingest_due()
        assert not deployed.worker.run_next(threading.Event())
        expiry.end_waits()
        expiry.correct()
        expiry.alert()
        repair_future_slots(database, deployed.clock)
        report_ends(database, deployed.clock)
        notify(deployed)
        alert_failing_flows(database, deployed.clock.now_ms(), 1, disable=True)
        for _ in run_maintenance(backend, sweeps=True):
            pass
        with database.reading() as session:
            read_state(session, deployed.clock.now_ms())
    assert list(plans.scans.values()) == [], list(plans.scans)
    assert len(plans.seen) > 50


LISTS: Final = [
    f"{FLOW_SERVICE}/usage?by=month",
    f"{FLOW_SERVICE}/quotas",
    *(f"{FLOW_SERVICE}/{kind}" for kind in ("connections", "sourceConnections", "targetConnections", "flows", "runs")),
    f"{FLOW_SERVICE}/runs?property=flowId=={{flow}}",
    f"{FLOW_SERVICE}/runs?property=flowId=={{flow}}&orderby=-createdAt",
    f"{FLOW_SERVICE}/runs?orderby=-createdAt&limit=5",
    f"{FLOW_SERVICE}/runs?orderby=updatedAt",
    f"{FLOW_SERVICE}/alertMessages",
    f"{FLOW_SERVICE}/alertMessages?state=waiting&limit=5",
    "/data/foundation/catalog/dataSets",
    "/data/foundation/catalog/batches",
    "/data/foundation/catalog/batches?orderBy=desc:created&limit=5",
    "/data/foundation/audit/events",
]


@pytest.mark.parametrize("path", LISTS)
def test_requests_read_no_table_that_grows(delivered: tuple[Deployment, str], path: str) -> None:
    deployed, flow = delivered
    deployed.sign_in()
    with explaining(deployed) as plans:
        answer = deployed.http.get(path.format(flow=flow))
    assert answer.status_code == 200, answer.text
    assert list(plans.scans.values()) == [], list(plans.scans)
    assert plans.seen


def test_changes_read_no_table_that_grows(delivered: tuple[Deployment, str]) -> None:
    deployed, flow = delivered
    deployed.sign_in()
    run = deployed.runs(flow)[0]["id"]
    with explaining(deployed) as plans:
        deployed.get(f"/flows/{flow}")
        deployed.get(f"/runs/{run}")
        another = deployed.flow(deployed.import_rows("others", rows(0, 1)))
        deployed.patch(f"/flows/{another}", [{"op": "replace", "path": "/name", "value": "renamed"}])
        assert deployed.http.post(f"{FLOW_SERVICE}/flows/{another}/action?op=disable").status_code == 200
        deployed.delete(f"/flows/{another}")
    assert list(plans.scans.values()) == [], list(plans.scans)


def test_pages_of_datasets_read_no_table_that_grows(delivered: tuple[Deployment, str]) -> None:
    deployed, flow = delivered
    caller, database = deployed.caller, deployed.backend.database
    with explaining(deployed) as plans, database.reading() as session:
        for order in dataset_lists.ORDERS:
            found = dataset_lists.page(session, caller, "e", order, 0, 50, descending=True)
        exported = dataset_exports.counts(session, caller, [one.id for one in found])
        assert set(exported.values()) == {1}
        for dataset_id in exported:
            assert dataset_details.batches(session, caller, dataset_id, 0, 50)
            assert dataset_details.overview(
                deployed.backend.database, deployed.backend.lake, caller, dataset_id
            ).imported
            assert (
                dataset_exports.of_dataset(session, caller, dataset_id, 0, 50, deployed.clock.now_ms())[0].flow_id
                == flow
            )
        import_drafts.unfinished(session, caller, 5)
    assert list(plans.scans.values()) == [], list(plans.scans)


def test_runs_with_files_to_remove_are_found_by_their_index(delivered: tuple[Deployment, str]) -> None:
    deployed, flow = delivered
    database = deployed.backend.database
    with database.writing() as session:
        run = session.scalars(select(Run).where(Run.flow_id == flow)).first()
        assert run is not None
        run.failure, run.sweep_due = failure(), deployed.clock.ms
    with explaining(deployed) as plans, database.reading() as session:
        assert owed.count(session, deployed.caller) == 1
        assert len(owed.search(session, deployed.caller)) == 1
    assert list(plans.scans.values()) == [], list(plans.scans)
    if database.engine.dialect.name == "sqlite":
        assert len([one for one in plans.steps if "ix_runs_owed" in one]) == 2, plans.steps
    with database.writing() as session:
        run = session.get_one(Run, run.id)
        run.failure = run.sweep_due = None


def test_the_test_sees_a_table_that_is_read_whole(delivered: tuple[Deployment, str]) -> None:
    deployed, _ = delivered
    with explaining(deployed) as plans, deployed.backend.database.reading() as session:
        session.query(Run).where(Run.trigger == "schedule").all()
        session.query(tables.Batch).where(tables.Batch.external_id == "x").all()
    assert len(plans.scans) == 2
