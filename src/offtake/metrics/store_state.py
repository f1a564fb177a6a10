"""The state of the deployment, read from the database in few queries, each of which counts by an index."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, literal, select
from sqlalchemy.orm import Session

from offtake.contract.entities import ENABLED
from offtake.errors import DELIVERY_CODES
from offtake.flows.late_flows import late_flows
from offtake.metrics.labels import unique_names
from offtake.store import leftovers, run_states
from offtake.store.conditions import HELD_BATCH, HELD_RUN, LIVE_RUN, LOADING_BATCH, QUEUED_BATCH
from offtake.store.tables import Batch, DeploymentState, DestinationHealth, Flow, Run, Sandbox
from offtake.telemetry import definitions as metrics
from offtake.telemetry.definitions import NONE, OTHER, Metric

_CODES: Final = frozenset(one.code for one in DELIVERY_CODES)
_MISSING_MS: Final = 120_000
"""Workers count as missing when a run has been due for so long, and none is claimed."""


@dataclass(frozen=True)
class Sample:
    """A value. The label `sandbox`, which is always the last one, has the sandbox's id."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class StoreState:
    """The state at one time. `sandboxes`: names by id, the oldest first."""

    samples: tuple[Sample, ...]
    sandboxes: dict[str, str]


def read_sandboxes(session: Session) -> StoreState:
    """Only the names of the sandboxes, for processes that do not show the state of the deployment."""
    query = select(Sandbox.id, Sandbox.name, Sandbox.org_id).order_by(Sandbox.created_at, Sandbox.id)
    return StoreState((), unique_names((one, name, org_id) for one, name, org_id in session.execute(query)))


def read_state(session: Session, now_ms: int) -> StoreState:
    """The state of the whole deployment."""
    sandboxes = read_sandboxes(session).sandboxes
    samples = (
        *_flows(session, now_ms),
        *_runs(session, now_ms),
        *_batches(session, now_ms),
        *_leases(session),
        *_destinations(session, now_ms),
    )
    # A value that is not there is hard to alert on: what is counted by sandbox is 0 in the others.
    seen = {(one.metric, one.labels) for one in samples}
    by_sandbox = (metrics.FLOWS_LATE, metrics.LATENESS, metrics.FLOWS_FAILING, metrics.RUNS_RUNNING)
    zeros = (
        Sample(metric, (sandbox_id,), 0)
        for metric in (*by_sandbox, metrics.QUEUE_AGE, metrics.FILES_OWED)
        for sandbox_id in sandboxes
        if (metric, (sandbox_id,)) not in seen
    )
    idle = (
        Sample(metrics.RUNS_WAITING, (NONE, sandbox_id), 0)
        for sandbox_id in sandboxes
        if (metrics.RUNS_WAITING, (NONE, sandbox_id)) not in seen
    )
    return StoreState((*samples, *zeros, *idle), sandboxes)


def known_code(code: str | None) -> str:
    """A delivery code as a label's value."""
    if not code:
        return NONE
    return code if code in _CODES else OTHER


def _flows(session: Session, now_ms: int) -> Iterator[Sample]:
    by_state = select(Flow.sandbox_id, Flow.state, func.count()).group_by(Flow.sandbox_id, Flow.state)
    for sandbox_id, state, count in session.execute(by_state):
        yield Sample(metrics.FLOWS, ("enabled" if state == ENABLED else "disabled", sandbox_id), count)
    failed = (Flow.state == ENABLED) & (Flow.last_run_state == run_states.FAILED) & Run.cancel_requested.is_(False)
    failing = select(Flow.sandbox_id, func.count()).join(Run, Run.id == Flow.last_run_id).where(failed)
    for sandbox_id, count in session.execute(failing.group_by(Flow.sandbox_id)):
        yield Sample(metrics.FLOWS_FAILING, (sandbox_id,), count)
    late: Counter[str] = Counter()
    oldest: dict[str, int] = {}
    for one in late_flows(session, now_ms):
        late[one.sandbox_id] += 1
        oldest[one.sandbox_id] = min(one.since_ms, oldest.get(one.sandbox_id, one.since_ms))
    for sandbox_id, count in late.items():
        yield Sample(metrics.FLOWS_LATE, (sandbox_id,), count)
        yield Sample(metrics.LATENESS, (sandbox_id,), (now_ms - oldest[sandbox_id]) / 1000)


def _runs(session: Session, now_ms: int) -> Iterator[Sample]:
    waits = Run.waiting_since.is_not(None)
    code = case((waits, Run.wait_reason["code"].as_string()), else_=literal(""))
    ready = case((Run.not_before.is_(None), Run.created_at), (Run.not_before <= now_ms, Run.not_before))
    live = select(Run.sandbox_id, Run.status, code.label("code"), func.count(), func.min(ready)).where(LIVE_RUN)
    waiting: Counter[tuple[str, str]] = Counter()
    running: Counter[str] = Counter()
    oldest: dict[str, int] = {}
    for sandbox_id, status, reason, count, since in session.execute(live.group_by(Run.sandbox_id, Run.status, code)):
        if status == run_states.PROCESSING:
            running[sandbox_id] += count
            continue
        waiting[known_code(reason), sandbox_id] += count
        if since is not None:
            oldest[sandbox_id] = min(since, oldest.get(sandbox_id, since))
    for labels, count in waiting.items():
        yield Sample(metrics.RUNS_WAITING, labels, count)
    for sandbox_id, count in running.items():
        yield Sample(metrics.RUNS_RUNNING, (sandbox_id,), count)
    for sandbox_id, since in oldest.items():
        yield Sample(metrics.QUEUE_AGE, (sandbox_id,), max(0, now_ms - (since or now_ms)) / 1000)
    due = min(oldest.values(), default=now_ms)
    # A scheduler reports it too, by monotonic clocks; here it is also seen while no scheduler runs.
    reported = session.get(DeploymentState, "workers.missing") is not None
    yield Sample(metrics.WORKERS_MISSING, (), int(reported or (not running and now_ms - due > _MISSING_MS)))
    for sandbox_id, count in leftovers.count_by_sandbox(session).items():
        yield Sample(metrics.FILES_OWED, (sandbox_id,), count)


def _batches(session: Session, now_ms: int) -> Iterator[Sample]:
    oldest = now_ms
    counts = {"loading": 0, "staged": 0, "processing": 0}
    for condition in (LOADING_BATCH, QUEUED_BATCH):
        by_status = select(Batch.status, func.count(), func.min(Batch.updated_at)).where(condition)
        for status, count, since in session.execute(by_status.group_by(Batch.status)):
            counts[status] = count
            oldest = min(oldest, since) if status == "staged" else oldest
    for status, count in counts.items():
        yield Sample(metrics.BATCHES, (status,), count)
    yield Sample(metrics.BATCH_AGE, (), max(0, now_ms - oldest) / 1000)


def _leases(session: Session) -> Iterator[Sample]:
    runs = session.scalars(select(Run.lease_owner).where(HELD_RUN, Run.heartbeat_counter > 0)).all()
    batches = session.scalars(select(Batch.lease_owner).where(HELD_BATCH, Batch.heartbeat_counter > 0)).all()
    yield Sample(metrics.LEASES, ("run",), len(runs))
    yield Sample(metrics.LEASES, ("batch",), len(batches))
    yield Sample(metrics.WORKERS_BUSY, (), len({*runs, *batches}))


def _destinations(session: Session, now_ms: int) -> Iterator[Sample]:
    away = DestinationHealth.unavailable_since
    since = session.scalar(select(func.min(away)))
    yield Sample(metrics.AWAY, (), session.scalar(select(func.count()).where(away.is_not(None))) or 0)
    yield Sample(metrics.AWAY_SECONDS, (), 0 if since is None else max(0, now_ms - since) / 1000)
