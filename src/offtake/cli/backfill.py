"""The command `offtake flow backfill`."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from offtake.cli import instants, output
from offtake.cli.connecting import connected
from offtake.cli.executing import wait_for_run
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer, Wait
from offtake.client import names
from offtake.client.names import FLOW
from offtake.client.problems import ServerError
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import OfftakeError

_START: Final = "start"
_NOW: Final = "now"


def command(  # noqa: PLR0913, PLR0917 - one parameter an option
    flow: FlowName,
    run: Annotated[str | None, typer.Option("--run", help="Deliver the snapshots of this run again.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Deliver the snapshots after this snapshot id; or: start.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="The last snapshot id to deliver; or: now.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help=f"Deliver the rows that were imported since then: {instants.HELP}."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Deliver the rows that were imported until then; a date includes that day."),
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset, by id or name; repeatable.")
    ] = None,
    wait: Wait = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Deliver a run, a range of snapshots or a period again: into a new folder, without moving the flow's position.

    A period selects rows by the time of the commit that added them, not by a column: times without a zone are UTC, and
    a date means that day in UTC. Without --since, everything that was there at --until; without --until, until now.
    """
    wanted = _Wanted(run, start, to, since, until)
    wanted.check()
    with connected(server, data_dir, sandbox) as at:
        flow_id = names.find(at, FLOW, flow)["id"]
        body: Json = {"datasets": [names.find_dataset(at, one)["id"] for one in dataset or ()]}
        body |= wanted.body(at)
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
            more = "" if wait else f": offtake run watch {made['id']}"
            output.line(f"Run {made['id']} is queued; {folder}{more}")
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


@dataclass(frozen=True)
class _Wanted:
    """What to deliver again, as typed: a run, the snapshots from one to another, or a period."""

    run: str | None
    start: str | None
    to: str | None
    since: str | None
    until: str | None

    def check(self) -> None:
        """Raise `OfftakeError` unless exactly one of the three is given, and complete."""
        is_range, is_period = bool(self.start or self.to), bool(self.since or self.until)
        if [self.run is not None, is_range, is_period].count(True) != 1:
            raise OfftakeError(
                "Give either --run RUN, or --from SNAPSHOT|start and --to SNAPSHOT|now, or --since and --until DATE."
            )
        if is_range:
            _range(self.start, self.to)

    def body(self, server: Server) -> Json:
        """The members of the request."""
        if self.run is not None:
            return {"runId": names.find_run(server, self.run)["id"]}
        if self.since or self.until:
            return {"period": self._period(server.transport.now())}
        return {"snapshots": _range(self.start, self.to)}

    def _period(self, now: float) -> Json:
        """The API's period: after one millisecond, until another."""
        since = None if self.since is None else instants.start("--since", self.since, now)
        until = round(now * 1000) if self.until is None else instants.end("--until", self.until, now)
        if since is not None and since > until:
            raise OfftakeError("--since must not be after --until.")
        return {"until": until} | ({} if since is None else {"since": max(0, since - 1)})


def _range(start: str | None, to: str | None) -> Json:
    if start is None or to is None:
        raise OfftakeError("A range needs both: --from SNAPSHOT|start and --to SNAPSHOT|now.")
    return {
        "fromSnapshotId": None if start == _START else _snapshot("--from", start, _START),
        "toSnapshotId": None if to == _NOW else _snapshot("--to", to, _NOW),
    }


def _snapshot(option: str, text: str, word: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise OfftakeError(f"{option}: {text[:50]!r} is not a snapshot id; give a number, or: {word}")
    return int(text)
