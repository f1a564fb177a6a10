"""The command `offtake flow show`."""

from sqlalchemy.orm import Session

from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, find_flow, operating
from offtake.cli.runs import wait_sentence
from offtake.contract.entities import ENABLED
from offtake.documents import Json
from offtake.flows import flow_documents, flow_ends, flows
from offtake.flows.credentials import unsupported_guarantees
from offtake.flows.run_waits import wait_of
from offtake.flows.undelivered import Owed, describe, owed_by, remedy
from offtake.store import attempts, disposals
from offtake.store.runs import live_run
from offtake.store.tables import Flow, Run, SourceConnection, TargetConnection


def show_(flow: FlowName, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show a flow: schedule, last and current run, undelivered data, files left behind, unsupported guarantees."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        row = find_flow(session, caller, flow)
        now_ms = backend.clock.now_ms()
        document = flow_documents.render(session, row, caller, now_ms)
        live, owed = live_run(session, row.id), _owed(session, row)
        left = attempts.leftover_names(session, [one for one in (live and live.id, row.last_run_id) if one])
        source = session.get_one(SourceConnection, row.source_connection_id)
        held = disposals.kept_runs(session, row.id, source.dataset_ids)
        target = session.get_one(TargetConnection, row.target_connection_id)
        limits = list(unsupported_guarantees(session, backend.vault, target))
    if json:
        left_behind = [{"runId": run.id, "files": [part.uri or part.key for part in parts]} for run, parts in held]
        to_be_removed = [{"runId": run_id, "files": keys} for run_id, keys in left.items()]
        more = {"held": left_behind, "toBeRemoved": to_be_removed, "limits": limits}
        output.as_json(document | _extension(live, owed) | more)
        return
    stays = [f"run {run.id}: {disposals.describe(parts, disposals.NEXT)}" for run, parts in held]
    stays += [f"run {run_id}: {attempts.describe(keys)}" for run_id, keys in left.items()]
    for line in [*_lines(row, live, owed, now_ms // 1000), *stays, *limits]:
        output.console.print(line, markup=False)


def _owed(session: Session, row: Flow) -> list[Owed]:
    """The data that the flow's last run did not deliver."""
    last = session.get(Run, row.last_run_id) if row.last_run_id else None
    return owed_by(session, last) if last is not None else []


def _extension(live: Run | None, owed: list[Owed]) -> Json:
    wait = wait_of(live) if live else None
    running = {"liveRun": {"id": live.id, "status": live.status, "waiting": wait and wait.to_json()}} if live else {}
    return {"owed": [one.to_json() for one in owed]} | running


def _lines(row: Flow, live: Run | None, owed: list[Owed], now: int) -> list[str]:
    lines = _schedule_lines(row, now)
    if row.last_run_id:
        ended = output.instant(row.last_run_completed_at)
        lines.append(f"last run: {row.last_run_id} {row.last_run_state}, ended {ended}")
    if live is not None:
        wait = wait_of(live)
        lines.append(f"run {live.id} {'waits ' + wait_sentence(wait) if wait else 'is ' + live.status}")
    return lines + [f"undelivered: {describe(one)}; {remedy(row)}" for one in owed]


def _schedule_lines(row: Flow, now: int) -> list[str]:
    """The flow's state, its next slot and its end."""
    schedule, following = flows.stored_schedule(row), flow_ends.next_run(row, now)
    end, due = flow_ends.describe_end(schedule), output.instant(following * 1000) if following else "none"
    head = f"flow {row.name} ({row.id}) is {row.state}"
    if not flow_ends.is_over(row, now):
        return [head, f"next slot: {due}", f"ends: {end or 'never'}"]
    lines = [f"{head}, ended since {end}", f"next slot: {due}"]
    if row.state == ENABLED and row.next_run_s is not None:
        lines.append("one more run follows: a slot before the end is still due")
    if not (schedule.one_time and row.last_run_id):
        lines.append(f"to extend it: {flow_ends.describe_prolonging(row)}")
    return lines
