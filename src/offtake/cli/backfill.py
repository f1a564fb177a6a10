"""The command `offtake flow backfill`."""

from typing import Annotated, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.executing import wait_for_run
from offtake.cli.flows import Wait
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer
from offtake.client import names
from offtake.client.names import FLOW
from offtake.client.problems import ServerError
from offtake.documents import Json
from offtake.errors import OfftakeError

_START: Final = "start"
_NOW: Final = "now"


def command(  # noqa: PLR0913, PLR0917 - one parameter an option
    flow: FlowName,
    run: Annotated[str | None, typer.Option("--run", help="Deliver the snapshots of this run again.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Deliver the snapshots after this snapshot id; or: start.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The last snapshot id to deliver; or: now.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset, by id or name; repeatable.")
    ] = None,
    wait: Wait = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Deliver a run, or a range of snapshots, again: into a new folder, without changing the flow's position."""
    if (run is None) == (since is None and to is None):
        raise OfftakeError("Give either --run RUN, or --from SNAPSHOT|start and --to SNAPSHOT|now.")
    snapshots = None if run is not None else _range(since, to)
    with connected(server, data_dir, sandbox) as at:
        flow_id = names.find(at, FLOW, flow)["id"]
        body: Json = {"datasets": [names.find_dataset(at, one)["id"] for one in dataset or ()]}
        body |= {"runId": names.find_run(at, run)["id"]} if run is not None else {"snapshots": snapshots}
        try:
            made = at.post(f"{FLOW.path}/{flow_id}/backfill", body)
        except ServerError as error:
            if error.is_not_served:
                raise at.extension_error("a backfill") from None
            raise
        if json and not wait:
            output.as_json({name: made[name] for name in ("id", "flowId", "status", "folder")} | {"pins": _pins(made)})
        elif not json:
            folder = f"it delivers into the target's folder {made['folder']}"
            output.line(f"Run {made['id']} is queued; {folder}: offtake run watch {made['id']}")
        if wait:
            wait_for_run(at, made["id"], json=json)


def _pins(made: Json) -> Json:
    return {
        one["dataSetId"]: {
            "full": one["exportKind"] == "full",
            "from_snapshot": one["fromSnapshotId"],
            "to_snapshot": one["toSnapshotId"],
        }
        for one in made["datasets"]
    }


def _range(since: str | None, to: str | None) -> Json:
    if since is None or to is None:
        raise OfftakeError("A range needs both: --from SNAPSHOT|start and --to SNAPSHOT|now.")
    return {
        "fromSnapshotId": None if since == _START else _snapshot("--from", since, _START),
        "toSnapshotId": None if to == _NOW else _snapshot("--to", to, _NOW),
    }


def _snapshot(option: str, text: str, word: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise OfftakeError(f"{option}: {text[:50]!r} is not a snapshot id; give a number, or: {word}")
    return int(text)
