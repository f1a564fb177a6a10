"""The command `offtake flow create`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from offtake.cli import flow_options as options
from offtake.cli import output
from offtake.cli import schedule_options as schedules
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected
from offtake.cli.derived_options import with_options
from offtake.cli.flow_preview import print_preview
from offtake.cli.flows import describe_end, is_one_time
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.refusals import naming_options
from offtake.cli.schedule_options import ScheduleGiven
from offtake.client import flow_parts, names
from offtake.client.destinations import Destination, by_spec_id
from offtake.client.flow_parts import undone_on_error
from offtake.client.names import CONNECTION, FLOW
from offtake.client.problems import ServerError
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import OfftakeError, WrongUsageError

To = Annotated[
    str | None,
    typer.Option("--to", help="The connection, by name or id.", autocompletion=names_of("connections")),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", "--preview", help="Show the paths, the next runs and the first rows; create nothing."),
]


_CENTURY: Final = 100 * 366 * 86_400


@dataclass(frozen=True)
class Draft:
    """A flow that is to be created: the bodies of its requests, and the options by their fields."""

    source: Json
    target: Json
    flow: Json
    words: Mapping[str, str]


def create_(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="The flow's name.")],
    dataset: options.Datasets = None,
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
    columns: options.Columns = None,
    fresh_within: options.FreshWithin = None,
    description: Annotated[str | None, typer.Option("--description", help="A description.")] = None,
    dry_run: DryRun = False,
    rows: options.Rows = 5,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
    **given: Any,  # noqa: ANN401 - values of options
) -> None:
    """Create a flow: datasets, a connection, and a schedule; its source and target connection are created with it.

    When a step is refused, nothing stays.
    """
    target_seconds = options.check_fresh_within(fresh_within)
    schedule = ScheduleGiven(every, daily, once, start, end, time_zone)
    plain = {
        "path": path,
        "format": options.check_format(format_),
        "compression": options.check_compression(compression or "gzip"),
        "manifest": manifest,
    }
    _check_required({"--dataset": dataset, "--to": to, "--path": path, "--format": format_}, name, schedule)
    with connected(server, data_dir, sandbox) as found_server:
        names.check_unused(found_server, FLOW, name)
        connection, destination = find_connection(found_server, str(to))
        params = options.target_params(destination, plain, given)
        options.check_required(destination, params)
        chosen = find_datasets(found_server, dataset or [])
        draft = Draft(
            flow_parts.source_body(name, entries(chosen), options.parse_columns(columns or [], by_words(chosen))),
            target_body(name, connection, params),
            _flow_body(found_server, name, description, destination, schedule, folder)
            | ({} if target_seconds is None else {"extensions": {"freshWithinSeconds": target_seconds}}),
            options.words(destination, schedule, "NAME"),
        )
        planned = _rehearse(found_server, draft, rows if dry_run else 0, endless=schedule.endless)
        if dry_run:
            if planned is None:
                raise found_server.extension_error("--dry-run")
            print_preview(planned, json=json)
            return
        flow = _create(found_server, draft, endless=schedule.endless)
    if target_seconds is not None and flow.get("extensions", {}).get("freshWithinSeconds") != target_seconds:
        output.note(f"{found_server.name} ignores --fresh-within, which is an extension of Offtake.")
    _report(flow, connection, chosen, schedule, json=json)


create = with_options(create_, options.target_options(), before="server")


def find_connection(server: Server, text: str) -> tuple[Json, Destination]:
    """The connection that a person names, and its destination."""
    connection = names.find(server, CONNECTION, text)
    destination = by_spec_id(connection["connectionSpec"]["id"])
    if destination is None:
        raise OfftakeError(f"Connection {connection['name']} is not to a destination: flows cannot deliver there.")
    return connection, destination


def find_datasets(server: Server, texts: Sequence[str]) -> dict[str, Json]:
    """The datasets by how a person names them. Raises `WrongUsageError` for one that occurs twice."""
    found: dict[str, Json] = {}
    for text in texts:
        one = names.find_dataset(server, text)
        if any(one["id"] == other["id"] for other in found.values()):
            raise WrongUsageError(f"--dataset {text[:100]}: occurs twice.")
        found[text] = one
    return found


def entries(chosen: Mapping[str, Json]) -> list[Json]:
    """The datasets of a source connection's body."""
    return [{"dataSetId": one["id"], "name": one["name"]} for one in chosen.values()]


def by_words(chosen: Mapping[str, Json]) -> dict[str, str]:
    """The ids of datasets by what a person may call them: as typed, by name, and by id."""
    found = {text: str(one["id"]) for text, one in chosen.items()}
    found |= {str(one["name"]): str(one["id"]) for one in chosen.values()}
    return found | {str(one["id"]): str(one["id"]) for one in chosen.values()}


def target_body(name: str, connection: Json, params: Json) -> Json:
    """The body that creates a target connection."""
    spec = {"id": connection["connectionSpec"]["id"], "version": "1.0"}
    return {"name": name, "baseConnectionId": connection["id"], "connectionSpec": spec, "params": params}


def _check_required(given: Mapping[str, object], name: str, schedule: ScheduleGiven) -> None:
    missing = [option for option, value in given.items() if not value]
    if missing:
        raise WrongUsageError(f"{', '.join(missing)}: required. See: offtake flow create --help")
    if not name.strip():
        raise WrongUsageError("NAME: must not be empty.")
    schedule.new_params(0)


def _flow_body(
    server: Server,
    name: str,
    description: str | None,
    destination: Destination,
    schedule: ScheduleGiven,
    folder: str | None,
) -> Json:
    params = schedule.new_params(server.transport.now())
    if folder is not None:
        params["foldernameTemplate"] = folder
    return {
        "name": name,
        "flowSpec": {"id": destination.flow_spec_id, "version": "1.0"},
        "transformations": [],
        "scheduleParams": params,
    } | ({} if description is None else {"description": description})


def _rehearse(server: Server, draft: Draft, rows: int, *, endless: bool) -> Json | None:
    """The preview of the draft, which finds everything that its creation refuses; None for a server without it.

    Raises `WrongUsageError` for a flow that would never run.
    """
    flow = draft.flow
    if endless:
        # The end is removed after the creation only: until then, a server sets its default.
        schedule = flow["scheduleParams"]
        flow = flow | {"scheduleParams": schedule | {"endTime": schedule["startTime"] + _CENTURY}}
    body = {"sourceConnection": draft.source, "targetConnection": draft.target, "flow": flow}
    try:
        with naming_options(draft.words):
            planned: Json = server.post(f"{FLOW.path}/preview", body, (("rows", str(rows)),))
    except ServerError as error:
        if error.is_not_served:
            return None
        raise
    chosen = draft.source["params"].get("columns", {})
    if {one["dataSetId"] for one in planned["datasets"] if "columns" in one} != set(chosen):
        # A server that ignores the columns would deliver all of them.
        raise server.extension_error("--columns")
    if not planned["runs"]:
        raise WrongUsageError(
            f"--end: it would never run: it ends {output.instant(planned['endsAt'])}, before its start."
        )
    return planned | ({"endsAt": None} if endless else {})


def _create(server: Server, draft: Draft, *, endless: bool) -> Json:
    with undone_on_error(output.note) as steps, naming_options(draft.words):
        source_id = flow_parts.source_of(server, draft.source, steps)
        target_id = flow_parts.target_of(server, draft.target, steps)
        ids = {"sourceConnectionIds": [source_id], "targetConnectionIds": [target_id]}
        path = f"{FLOW.path}/{flow_parts.create(server, FLOW, draft.flow | ids, steps)}"
        flow = server.get_one(path)
        names.check_alone(server, FLOW, draft.flow["name"], flow["id"], lambda: None)
        if endless and flow["scheduleParams"].get("endTime") is not None:
            server.patch(path, [{"op": "remove", "path": "/scheduleParams/endTime"}], flow["etag"])
            flow = server.get_one(path)
    return flow


def _report(flow: Json, connection: Json, chosen: Mapping[str, Json], schedule: ScheduleGiven, *, json: bool) -> None:
    if json:
        output.as_json(flow)
        return
    datasets = ", ".join(str(one["name"]) for one in chosen.values())
    params = flow["scheduleParams"]
    output.line(f"flow {flow['name']} ({flow['id']}) is created: {datasets} to {connection['name']}")
    following = flow.get("extensions", {}).get("nextRunAt")
    output.line(
        f"runs {schedules.in_words(params)}, the first {output.instant(following or params['startTime'] * 1000)}"
    )
    if not is_one_time(flow):
        output.line(f"ends: {describe_end(flow) or 'never'}")
    if schedule.daily is not None and schedule.zone not in (None, "UTC"):
        output.note("The time is fixed in UTC: when clocks change, the local time of the runs moves by an hour.")
    output.note(f"To deliver now: offtake flow run {output.shell_word(flow['name'], flow['id'])} --wait")
