"""The commands `offtake flow pause | resume | delete`."""

from offtake.cli import output
from offtake.cli.confirming import Yes, confirm
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, FlowName, InSandbox, ToServer
from offtake.cli.schedule_options import in_words
from offtake.client import names
from offtake.client.connection_users import delete_if_unused
from offtake.client.names import FLOW, SOURCE, TARGET
from offtake.client.server import Server
from offtake.documents import Json


def pause(
    flow: FlowName, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Pause a flow: no scheduled run starts until it is resumed; a run in progress continues."""
    with connected(server, data_dir, sandbox) as to:
        found = _act(to, flow, "disable")
    if json:
        output.as_json(found)
        return
    shown = output.shell_word(found["name"], found["id"])
    output.line(f"flow {found['name']} ({found['id']}) is paused; to resume it: offtake flow resume {shown}")


def resume(
    flow: FlowName, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Resume a paused flow: its next run covers what was missed."""
    with connected(server, data_dir, sandbox) as to:
        found = _act(to, flow, "enable")
    if json:
        output.as_json(found)
        return
    following = output.instant(found.get("extensions", {}).get("nextRunAt")) or "none"
    output.line(f"flow {found['name']} ({found['id']}) is resumed; next run: {following}")


def _act(server: Server, text: str, op: str) -> Json:
    found = names.find(server, FLOW, text)
    path = f"{FLOW.path}/{found['id']}"
    server.post(f"{path}/action", None, (("op", op),))
    return server.get_one(path)


def delete(
    flow: FlowName,
    yes: Yes = False,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Delete a flow, with its source and target connection if no other flow uses them; asks first.

    Its runs stay listed, and delivered files stay where they are.
    """
    with connected(server, data_dir, sandbox) as to:
        found = names.find(to, FLOW, flow)
        stops = [] if yes else _stops(to, found)
        confirm(stops, f"Delete flow {found['name']} ({found['id']})?", yes=yes)
        to.delete(f"{FLOW.path}/{found['id']}")
        parts = [f"{SOURCE.path}/{one}" for one in found["sourceConnectionIds"]]
        parts += [f"{TARGET.path}/{one}" for one in found["targetConnectionIds"]]
        kept = [
            path.removeprefix(f"{FLOW.path.rpartition('/')[0]}/") for path in parts if not delete_if_unused(to, path)
        ]
    if json:
        output.as_json({"id": found["id"], "name": found["name"], "deleted": True, "kept": kept})
        return
    output.line(f"flow {found['name']} ({found['id']}) is deleted")
    for one in kept:
        output.line(f"{one} stays: it is still in use")


def _stops(server: Server, flow: Json) -> list[str]:
    """What ends with the flow."""
    status = server.get_extension(f"{FLOW.path}/{flow['id']}/status") or {}
    following = flow.get("extensions", {}).get("nextRunAt")
    lines = [f"Its schedule ends: {in_words(flow['scheduleParams'])}"]
    if following is not None:
        lines[0] += f", next {output.instant(following)}"
    if "liveRun" in status:
        lines.append(f"Run {status['liveRun']['id']} is cancelled; files that it has not finished are removed.")
    return [*lines, "Its position is lost: another flow delivers in full first. Delivered files stay."]
