"""The commands `offtake run verify` and `offtake flow verify`."""

import time
from json import loads
from typing import Annotated, Any, Final

import typer

from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, RunId, ToServer
from offtake.client import names
from offtake.client.names import FLOW, RUN
from offtake.client.problems import ServerError
from offtake.client.server import Server
from offtake.client.transport import NotAContractServerError
from offtake.documents import Json

_PROGRESS_SECONDS: Final = 2.0
_NOTHING: Final = "nothing was delivered, and no file is left"
_NOT_SHOWN: Final = ("delivered", "hint")
_EXTENSION: Final = "verification"


def run(
    run: RunId,
    download: Annotated[bool, typer.Option("--download", help="Read every file and compare its SHA-256.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A collected file is an error too: all files must exist.")
    ] = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Compare the files that a run delivered with its destination: missing, extra, altered and collected files.

    The exit code is 0 if all existing files are as delivered, else 1. With --strict, all files must exist.
    """
    with connected(server, data_dir, sandbox) as to:
        found = _verify(to, names.find_run(to, run)["id"], download=download, strict=strict, silent=json)
    if json:
        output.as_json({name: value for name, value in found.items() if name not in _NOT_SHOWN})
    else:
        _print(found)
    if found["findings"]:
        raise typer.Exit(1)


def _verify(server: Server, run_id: str, *, download: bool, strict: bool, silent: bool) -> Json:
    """The server's result; while it reads files, their bytes are progress."""
    reader = _Reader(silent=silent)
    query = [(name, "true") for name, is_set in (("download", download), ("strict", strict)) if is_set]
    try:
        server.get_lines(f"{RUN.path}/{run_id}/verification", query, reader.read)
    except ServerError as error:
        if error.is_not_served:
            raise server.extension_error(_EXTENSION) from None
        raise
    return reader.result()


class _Reader:
    """Reads the lines of a verification; prints the bytes read every two seconds, on standard error."""

    def __init__(self, *, silent: bool) -> None:
        self._silent, self._printed = silent, time.monotonic()
        self._last: Json = {}

    def read(self, line: bytes) -> None:
        try:
            self._last = loads(line)
        except ValueError:
            raise NotAContractServerError from None
        if "bytesRead" in self._last and not self._silent and time.monotonic() - self._printed >= _PROGRESS_SECONDS:
            self._printed = time.monotonic()
            output.note(f"{output.size(self._last['bytesRead'])} of {output.size(self._last['bytes'])} read")

    def result(self) -> Json:
        if "error" in self._last:
            raise ServerError(self._last["error"]["status"], self._last["error"]["detail"])
        found = self._last.get("result")
        if not isinstance(found, dict):
            raise NotAContractServerError
        return found


def flow(
    flow: FlowName, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Verify that the snapshot ranges of a flow's runs cover its datasets' history without gaps or overlaps.

    The exit code is 0 if they do, else 1. Snapshots that are still to be delivered are reported, not an error.
    """
    with connected(server, data_dir, sandbox) as to:
        flow_id = names.find(to, FLOW, flow)["id"]
        found = to.get_extension(f"{FLOW.path}/{flow_id}/verification")
        if found is None:
            raise to.extension_error(_EXTENSION)
    if json:
        output.as_json(found)
    else:
        for one in found["datasets"]:
            for line in _lines(one):
                output.line(line)
    if not found["proven"]:
        raise typer.Exit(1)


def _print(found: Json) -> None:
    for one in found["findings"]:
        detail = f": {one['detail']}" if one["detail"] else ""
        output.line(f"{one['what']} {one['uri']}{detail}")
    files, rows = output.count_of(found["files"], "file"), output.count_of(found["rows"], "row")
    counted = f"{files}, {rows}, {output.size(found['bytes'])}"
    if not found["findings"]:
        how = "as delivered" if found["delivered"] else _NOTHING
        output.line(f"{counted}: {how}{_gone(found)}")
        return
    kinds = [(kind, sum(one["what"] == kind for one in found["findings"])) for kind in ("missing", "extra", "altered")]
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds if count)
    output.line(f"{counted}: {summary}{_gone(found)}")
    if found.get("hint"):
        output.line(found["hint"])


def _gone(found: Json) -> str:
    """The number of files that were collected or have expired, including the manifest."""
    counts = ((found["collected"], "collected"), (found["expired"], "expired"))
    return "".join(f", {count:,} {how}" for count, how in counts if count)


def _lines(one: Json) -> list[str]:
    chosen = [f"delivers of {one['name']} only: {', '.join(one['columns'])}"] if one.get("columns") else []
    return [*chosen, *_continuity_lines(one)]


def _continuity_lines(one: Json) -> list[str]:
    if not one["tiled"]:
        runs = output.count_of(one["runs"], "full export")
        return [f"{one['name']}: {runs} and no others; the flow has no incremental exports"]
    found = [f"{flaw['kind']} {one['name']}: {flaw['message']}" for flaw in one["flaws"]]
    return [*found, f"{one['name']}: {_summary(one)}"]


def _summary(one: dict[str, Any]) -> str:
    rows = output.count_of(one["pendingRows"] or 0, "row")
    pending = f"not delivered yet: {output.count_of(one['pendingSnapshots'] or 0, 'snapshot')} with {rows}"
    if one["position"] is None:
        return f"nothing delivered yet, or the next run is a full export; {pending}"
    count = output.count_of(len(one["flaws"]), "gap or overlap", "gaps or overlaps")
    flaws = count if one["flaws"] else "no gap, no overlap"
    if one["pendingSnapshots"] is None:
        pending = "that snapshot is no longer in the table's history, so the next run is a full export"
    elif not one["pendingSnapshots"]:
        pending = "nothing is pending"
    return f"{output.count_of(len(one['ranges']), 'run')} up to snapshot {one['position']}, {flaws}; {pending}"
