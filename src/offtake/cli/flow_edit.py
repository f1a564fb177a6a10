"""The command `offtake flow edit`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from offtake.cli import flow_fields, output
from offtake.cli import flow_options as options
from offtake.cli import schedule_options as schedules
from offtake.cli.connecting import connected
from offtake.cli.connection_edit import plain_operations
from offtake.cli.credentials_given import Given, given_options
from offtake.cli.derived_options import with_options
from offtake.cli.flow_create import To, by_words, entries, find_connection, find_datasets, target_body
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer
from offtake.cli.refusals import naming_options
from offtake.cli.schedule_options import ScheduleGiven
from offtake.client import flow_parts, names
from offtake.client.connection_users import delete_if_unused
from offtake.client.flow_parts import Steps, undone_on_error
from offtake.client.names import FLOW, SOURCE, TARGET
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import WrongUsageError


@dataclass(frozen=True)
class Changes:
    """What the options change. `to`: another connection; `plain`, `given`: of the target; `folder` '': the default."""

    name: str | None
    description: str | None
    datasets: list[str] | None
    columns: list[str] | None
    to: str | None
    folder: str | None
    schedule: ScheduleGiven
    plain: Mapping[str, object]
    given: Given
    fresh_within: str | None = None

    @property
    def of_target(self) -> bool:
        """Whether the target connection changes."""
        plain = any(one is not None for one in self.plain.values())
        return plain or self.to is not None or bool(given_options(options.derived_fields(), self.given))

    @property
    def nothing(self) -> bool:
        """Whether no option is given."""
        values = (self.name, self.description, self.datasets, self.columns, self.folder, self.schedule.start)
        is_same = self.schedule.end is None and not self.schedule.repeats and not self.of_target
        return is_same and self.fresh_within is None and all(one is None for one in values)


@dataclass
class _Edit:
    """An edit in progress: the patch of the flow, and what may be unused afterwards."""

    flow: Json
    operations: list[Json]
    replaced: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: Mapping[str, str] = field(default_factory=dict)


def edit_(  # noqa: PLR0913, PLR0917 - one parameter an option
    flow: FlowName,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="Another description; '': none.")] = None,
    dataset: options.Datasets = None,
    columns: options.Columns = None,
    to: To = None,
    path: options.Path = None,
    format_: options.Format = None,
    compression: options.Compression = None,
    manifest: options.Manifest = None,
    every: schedules.Every = None,
    daily: schedules.Daily = None,
    once: schedules.Once = False,
    start: schedules.Start = None,
    end: schedules.End = None,
    time_zone: schedules.Zone = None,
    folder: options.Folder = None,
    fresh_within: options.FreshWithin = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Change a flow: its name, datasets, place, files or schedule, all or nothing; later runs are changed.

    --dataset replaces all datasets: those that stay keep their position, new ones are delivered in full first.
    """
    plain = {
        "path": path,
        "format": options.check_format(format_),
        "compression": options.check_compression(compression),
        "manifest": manifest,
    }
    schedule = ScheduleGiven(every, daily, once, start, end, time_zone)
    changes = Changes(name, description, dataset, columns, to, folder, schedule, plain, given, fresh_within)
    options.check_fresh_within(fresh_within)
    if changes.nothing:
        raise WrongUsageError("Nothing to change: give at least one option, such as --every 6h.")
    if name is not None and not name.strip():
        raise WrongUsageError("--name: must not be empty.")
    with connected(server, data_dir, sandbox) as found_server:
        edit = _apply(found_server, names.find(found_server, FLOW, flow), changes)
        after = found_server.get_one(f"{FLOW.path}/{edit.flow['id']}")
        changed = [] if json else flow_fields.differences(edit.before, flow_fields.fields_of(found_server, after))
    if json:
        output.as_json(after)
        return
    output.line(f"flow {after['name']} ({after['id']}) is {'changed' if changed else 'unchanged'}")
    for line in [*(f"  {one}" for one in changed), *edit.notes]:
        output.line(line)


edit = with_options(edit_, options.target_options(), before="server")


def _apply(server: Server, flow: Json, changes: Changes) -> _Edit:
    """Change the flow with one patch, after its new source and target; undo these if the patch is refused."""
    if changes.name not in (None, flow["name"]):
        names.check_unused(server, FLOW, str(changes.name))
    target = server.get_one(f"{TARGET.path}/{flow['targetConnectionIds'][0]}")
    connection, destination = find_connection(server, changes.to or target["baseConnectionId"])
    if connection["connectionSpec"]["id"] != target["connectionSpec"]["id"]:
        raise WrongUsageError(f"--to {changes.to}: is another kind of destination; create another flow for it.")
    edit = _Edit(flow, plain_operations(flow, changes.name, changes.description))
    edit.before = flow_fields.fields_of(server, flow)
    edit.operations += [*_schedule_operations(server, edit, changes), *_freshness_operations(flow, changes)]
    words = options.words(destination, changes.schedule, "--name")
    with undone_on_error(output.note) as steps, naming_options(words):
        if changes.datasets is not None or changes.columns is not None:
            _replace_source(server, edit, changes, steps)
        if changes.of_target:
            params = options.target_params(destination, changes.plain, changes.given)
            _change_target(server, edit, target, connection, params, steps)
        if edit.operations:
            server.patch(f"{FLOW.path}/{flow['id']}", edit.operations, flow["etag"])
    for one in edit.replaced:
        delete_if_unused(server, one)
    return edit


def _schedule_operations(server: Server, edit: _Edit, changes: Changes) -> list[Json]:
    params = changes.schedule.changed_params(server.transport.now())
    if changes.folder:
        params["foldernameTemplate"] = changes.folder
    before = edit.flow["scheduleParams"]
    operations: list[Json] = [{"op": "replace", "path": "/scheduleParams", "value": params}] if params else []
    if changes.folder == "" and "foldernameTemplate" in before:
        operations.append({"op": "remove", "path": "/scheduleParams/foldernameTemplate"})
    if changes.schedule.endless and before.get("endTime") is not None:
        operations.append({"op": "remove", "path": "/scheduleParams/endTime"})
    if params.get("exportMode", before.get("exportMode")) != before.get("exportMode"):
        edit.notes.append("its position is lost: the next run delivers in full")
    return operations


def _freshness_operations(flow: Json, changes: Changes) -> list[Json]:
    if changes.fresh_within is None:
        return []
    path, seconds = "/extensions/freshWithinSeconds", options.check_fresh_within(changes.fresh_within)
    if seconds is not None:
        return [{"op": "add", "path": path, "value": seconds}]
    is_set = flow.get("extensions", {}).get("freshWithinSeconds") is not None
    return [{"op": "remove", "path": path}] if is_set else []


def _replace_source(server: Server, edit: _Edit, changes: Changes, steps: Steps) -> None:
    """Point the flow to a source connection with the wanted datasets and columns."""
    old_id = edit.flow["sourceConnectionIds"][0]
    old = server.get_one(f"{SOURCE.path}/{old_id}")["params"]
    before = {one["dataSetId"]: one for one in old["datasets"]}
    if changes.datasets is None:
        datasets = list(before.values())
        chosen = {str(one.get(key)): one["dataSetId"] for one in datasets for key in ("name", "dataSetId")}
    else:
        found = find_datasets(server, changes.datasets)
        # The branch or tag of a dataset that stays is kept.
        datasets = [before.get(one["dataSetId"], one) for one in entries(found)]
        chosen = by_words(found)
    ids = [one["dataSetId"] for one in datasets]
    columns = {key: value for key, value in (old.get("columns") or {}).items() if key in ids}
    columns |= options.parse_columns(changes.columns or [], chosen)
    body = flow_parts.source_body(changes.name or edit.flow["name"], datasets, columns)
    new_id = flow_parts.source_of(server, body, steps)
    edit.operations.append({"op": "replace", "path": "/sourceConnectionIds", "value": [new_id]})
    edit.replaced.append(f"{SOURCE.path}/{old_id}")
    added = [one for one in ids if one not in before]
    if added:
        edit.notes.append("new datasets are delivered in full first")


def _change_target(server: Server, edit: _Edit, target: Json, connection: Json, params: Json, steps: Steps) -> None:
    """Change the flow's target connection; replace it if other flows use it, or for another base connection."""
    path = f"{TARGET.path}/{target['id']}"
    is_shared = len(flow_parts.users_of(server, "targetConnectionIds[]", target["id"])) > 1
    if is_shared or connection["id"] != target["baseConnectionId"]:
        body = target_body(edit.flow["name"], connection, target["params"] | params)
        new_id = flow_parts.target_of(server, body, steps)
        edit.operations.append({"op": "replace", "path": "/targetConnectionIds", "value": [new_id]})
        edit.replaced.append(path)
        return
    changed = {key: value for key, value in params.items() if target["params"].get(key) != value}
    if not changed:
        return
    server.patch(path, [{"op": "replace", "path": "/params", "value": changed}], target["etag"])
    back: list[Json] = [
        {"op": "add", "path": f"/params/{key}", "value": target["params"][key]}
        if key in target["params"]
        else {"op": "remove", "path": f"/params/{key}"}
        for key in changed
    ]
    steps.add(f"a change of target connection {target['id']}", lambda: server.patch(path, back, "*"))
