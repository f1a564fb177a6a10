"""What a flow would deliver: the files' paths, the next runs, and the first rows (an extension)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from offtake.access import access
from offtake.catalog import dataset_documents
from offtake.contract import folder_templates
from offtake.contract.bodies import Body
from offtake.contract.caller import VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.contract.folder_templates import TemplateValues
from offtake.contract.problems import Problem
from offtake.documents import ColumnChoiceDocument, Json
from offtake.flows import column_choices, flow_views, flows, source_connections, specs, target_connections
from offtake.flows.flow_views import ExportedDataset, FlowView
from offtake.flows.places import place_of
from offtake.flows.schedule import Schedule, ScheduleRules, first_slot, next_slot
from offtake.formats import pgp
from offtake.formats.names import JSON
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import ColumnChoice
from offtake.store.database import Database
from offtake.store.tables import Flow

MOST_RUNS: Final = 5
_DRAFT_ID: Final = "FLOW_ID"
_SUFFIXES: Final = {JSON: ".json.gz"}


class FlowDraft(Body):
    """`POST /flows/preview`: the bodies of the requests that create the flow, without the ids between them."""

    source_connection: dict[str, Any]
    target_connection: dict[str, Any]
    flow: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A preview without rows. `chosen`: by dataset id, the branch or tag, and the columns."""

    document: Json
    chosen: Mapping[str, tuple[str | None, ColumnChoice | None]]


def preview(database: Database, lake: Lake, caller: Caller, flow_id: str, now_ms: int, rows: int) -> Json:
    """The preview of a flow, with at most `rows` rows of each dataset; raises 1439."""
    caller.require(VIEW_DATASETS)
    with database.reading() as session:
        planned = plan(session, caller, flows.find(session, caller, flow_id), now_ms)
    return with_rows(database, lake, caller, planned, rows)


def create(
    session: Session,
    caller: Caller,
    draft: FlowDraft,
    columns: Mapping[str, ColumnChoiceDocument],
    now_ms: int,
    rules: ScheduleRules,
) -> Flow:
    """Create the draft's flow with its connections; raises `Problem` as the requests that create each do.

    `columns`: as `source_connections.choose_columns` returns them for the draft.
    """
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
    source = source_connections.create(session, caller, draft.source_connection, now_ms, columns)
    target = target_connections.create(session, caller, draft.target_connection, now_ms)
    session.flush()
    ids: Json = {"sourceConnectionIds": [source.id], "targetConnectionIds": [target.id]}
    row = flows.create(session, caller, draft.flow | ids, now_ms, rules)
    session.flush()
    return row


def plan(session: Session, caller: Caller, flow: Flow, now_ms: int, *, is_draft: bool = False) -> Plan:
    """The paths and the next runs. Of a disabled flow, the runs that it would have if it were enabled now.

    A draft has no id; paths that need it have a placeholder.
    """
    view = flow_views.find_flow(session, caller, flow.id, now_ms)
    runs = _next_runs(view, now_ms // 1000)
    at_ms = runs[0] if runs else now_ms
    values = TemplateValues(
        destination=specs.destination_of_flow(flow.flow_spec_id).name,
        dataset_id="",
        dataset_name="",
        flow_name=flow.name,
        flow_id=_DRAFT_ID if is_draft else flow.id,
        sandbox_name=caller.sandbox_name,
        organization_name=access.organisation_name(session, caller),
    )
    end = view.schedule.end_time
    refs, columns = view.source.refs or {}, column_choices.paths_of(view.source)
    document = {
        "id": None if is_draft else flow.id,
        "state": flow.state,
        "runs": runs,
        "endsAt": None if end is None else end * 1000,
        "datasets": [
            {"dataSetId": one.dataset_id, "name": one.name, "path": _path(view, one, values, at_ms)}
            | ({"columns": columns[one.dataset_id]} if one.dataset_id in columns else {})
            for one in view.datasets
        ],
    }
    return Plan(
        document, {one: (refs.get(one), column_choices.choice_of(view.source, one)) for one in view.source.dataset_ids}
    )


def with_rows(database: Database, lake: Lake, caller: Caller, planned: Plan, most: int) -> Json:
    """The plan's document with the first rows of each dataset, or with the `problem` that prevents reading them.

    Rows have the form of NDJSON exports. Of a dataset that the caller may not see, there are none.
    """
    datasets = []
    for one in planned.document["datasets"]:
        dataset_id = one["dataSetId"]
        rows: Json = {"rows": []}
        if one["name"] is not None and most:
            rows = _rows(database, lake, caller, dataset_id, most, planned.chosen[dataset_id])
        datasets.append(one | rows)
    return planned.document | {"datasets": datasets}


def _rows(
    database: Database,
    lake: Lake,
    caller: Caller,
    dataset_id: str,
    most: int,
    chosen: tuple[str | None, ColumnChoice | None],
) -> Json:
    try:
        lines = dataset_documents.preview_lines(database, lake, caller, dataset_id, most, *chosen)
    except Problem as problem:
        return {"problem": str(problem)}
    return {"rows": [json.loads(line) for line in lines]}


def _next_runs(view: FlowView, now: int) -> list[int]:
    """The next slots, at most five, in epoch milliseconds."""
    schedule: Schedule = view.schedule
    slot = view.flow.next_run_s if view.next_ms is not None else _slot_from_now(view, now)
    found: list[int] = []
    while slot is not None and len(found) < MOST_RUNS:
        found.append(slot * 1000)
        slot = next_slot(schedule, slot, slot)
    return found


def _slot_from_now(view: FlowView, now: int) -> int | None:
    if view.schedule.one_time:
        return None if view.flow.last_run_id else first_slot(view.schedule, now)
    return None if view.ended else next_slot(view.schedule, now, now)


def _path(view: FlowView, dataset: ExportedDataset, values: TemplateValues, at_ms: int) -> str:
    """The path of a dataset's first file in the run at that time; the file's number and ids are left out."""
    names = replace(values, dataset_id=dataset.dataset_id, dataset_name=dataset.name or dataset.dataset_id)
    params = view.target.params
    folder = folder_templates.expand(view.schedule.folder_name_template, names, at_ms)
    root = place_of(view.target.connection_spec_id, params)
    suffix = _SUFFIXES.get(str(params.get("datasetFileType", "")).upper(), ".parquet")
    encrypted = pgp.EXTENSION if view.account.encryption else ""
    return "/".join(one for one in (root, folder, f"part-00000-…{suffix}{encrypted}") if one)
