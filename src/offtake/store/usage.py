"""Usage: rows, bytes, files and CPU time of each flow, dataset and base connection in a calendar month (UTC).

It is recorded in the transaction that ends a run, so that a run counts once, however often it was killed. A flow has at
most one live run: its row of a month is never written by two ending runs at once.
"""

import functools
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.store.tables import Connection, Flow, Run, RunDataset, RunPart, TargetConnection, Usage

_DECEMBER: Final = 12
_NAMES: Final = ("flow_name", "dataset_name", "connection_name")
_MEASURES: Final = ("rows", "bytes", "files", "cpu_ms")


def month_of(epoch_ms: int) -> str:
    """The calendar month (UTC) of an instant, such as `2026-11`."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m")


def month_after(epoch_ms: int) -> int:
    """When the next calendar month (UTC) begins, in epoch milliseconds."""
    now = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    year, month = (now.year + 1, 1) if now.month == _DECEMBER else (now.year, now.month + 1)
    return round(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)


def record(session: Session, run: Run, now_ms: int, *, delivered: bool, compute: bool = True) -> None:
    """Add what the run used to the month of `now_ms`; call it once, in the transaction that ends the run.

    `delivered`: its finished files stay delivered. `compute`: add its CPU time. Files that it took over from a failed
    run were counted with that run.
    """
    session.flush()
    of_run = {"run": run.id, "sandbox": run.sandbox_id, "flow": run.flow_id, "target": run.target_connection_id}
    statement = _statement(session.get_bind().dialect.name, delivered=delivered, compute=compute)
    session.execute(statement, {**of_run, "in_month": month_of(now_ms)})


@functools.cache
def _statement(dialect: str, *, delivered: bool, compute: bool) -> Insert:
    """One statement, made once: SQLAlchemy takes longer to build it than a database to execute it."""
    # The record of a file of another run is copied without CPU time and intent. One alone does not tell: files that a
    # store takes in one request have no intent, and versions before revision 0024 recorded no CPU time.
    by_this_run = or_(RunPart.cpu_ms.is_not(None), RunPart.intended_at.is_not(None))
    own = and_(RunPart.finished_at.is_not(None), by_this_run) if delivered else None
    files = _sum(own, literal(1))
    cpu = _whole(func.sum(RunPart.cpu_ms)) if compute else literal(0)
    target = TargetConnection.id == bindparam("target", type_=String)
    base_id = select(TargetConnection.base_connection_id).where(target).scalar_subquery()
    base_name = select(Connection.name).join_from(TargetConnection, Connection).where(target).scalar_subquery()
    flow_name = select(Flow.name).where(Flow.id == bindparam("flow", type_=String)).scalar_subquery()
    used = {
        "sandbox_id": bindparam("sandbox", type_=String),
        "month": bindparam("in_month", type_=String),
        "flow_id": bindparam("flow", type_=String),
        "dataset_id": RunPart.dataset_id,
        "connection_id": func.coalesce(base_id, ""),
        "flow_name": func.coalesce(flow_name, ""),
        "dataset_name": func.coalesce(func.max(RunDataset.dataset_name), ""),
        "connection_name": func.coalesce(base_name, ""),
        "rows": _sum(own, RunPart.rows),
        "bytes": _sum(own, RunPart.bytes),
        "files": files,
        "cpu_ms": cpu,
    }
    planned = and_(RunDataset.run_id == RunPart.run_id, RunDataset.dataset_id == RunPart.dataset_id)
    query: Select[*tuple[Any, ...]] = (
        select(*(value.label(name) for name, value in used.items()))
        .outerjoin_from(RunPart, RunDataset, planned)
        .where(RunPart.run_id == bindparam("run", type_=String))
        .group_by(RunPart.dataset_id)
        .having(files + cpu > 0)
        # Locks are taken in one order.
        .order_by(RunPart.dataset_id)
    )
    table = Usage.metadata.tables[Usage.__tablename__]
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table).from_select(list(used), query)
    new, old = insert.excluded, table.c
    names = {name: case((new[name] == "", old[name]), else_=new[name]) for name in _NAMES}
    sums = {name: old[name] + new[name] for name in _MEASURES}
    upsert: Insert = insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=names | sums)
    return upsert


def _sum(
    own: ColumnElement[bool] | None, of: ColumnElement[int] | InstrumentedAttribute[int | None]
) -> ColumnElement[int]:
    """The sum over the files that this run delivered; 0 if none is delivered."""
    return literal(0) if own is None else _whole(func.sum(case((own, of), else_=0)))


def _whole(total: ColumnElement[Any]) -> ColumnElement[int]:
    """A sum as an integer, 0 without rows: PostgreSQL's sums of integers are of type numeric."""
    return cast(func.coalesce(total, 0), BigInteger)
