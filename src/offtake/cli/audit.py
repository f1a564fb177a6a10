"""The commands `offtake audit …`."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from offtake.access import audit_changes
from offtake.cli import output
from offtake.cli.connecting import connected
from offtake.cli.options import AsJson, DataDir, ToServer
from offtake.client.server import AUDIT, Server
from offtake.client.transport import NotAContractServerError
from offtake.documents import Json
from offtake.errors import OfftakeError

_WIDEST: Final = 200
_MOST: Final = 1000


def list_(  # noqa: PLR0913, PLR0917 - one parameter an option
    since: Annotated[
        str | None, typer.Option("--since", help="Only changes since this time, such as 2026-03-01.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option("--resource", help="An id, a name, or a type such as Destination.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Only this action, such as create, update, delete, grant.")
    ] = None,
    client: Annotated[str | None, typer.Option("--client", help="Only changes by this client id.")] = None,
    sandbox: Annotated[str | None, typer.Option("--sandbox", help="Only in this sandbox.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST, help="Maximum number of changes.")] = 100,
    server: ToServer = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List changes, the latest first."""
    given = {"action": action, "clientId": client, "sandboxName": sandbox, "asset": resource}
    query = [("property", f"{name}=={value}") for name, value in given.items() if value]
    if since:
        query.append(("property", f"timestamp>={_checked_instant(since)}"))
    with connected(server, data_dir) as to:
        found = _events(to, [*query, ("limit", str(limit))])
    if json:
        output.as_json(found)
        return
    rows = [
        (
            one["timestamp"],
            one.get("clientId", one.get("userEmail")),
            one["action"],
            one["assetType"],
            one.get("assetName", one["assetId"]),
            one.get("sandboxName"),
            "; ".join(_changes(one.get("before"), one.get("after")))[:_WIDEST],
        )
        for one in found
    ]
    output.table(("TIMESTAMP", "CLIENT", "ACTION", "ASSET TYPE", "ASSET", "SANDBOX", "CHANGES"), rows, "No changes.")


def _checked_instant(text: str) -> str:
    """The time for the server, which accepts more forms than these; raises `OfftakeError`."""
    try:
        return text if text.isdecimal() else datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise OfftakeError(f"--since {text}: give a date, such as 2026-03-01 or 2026-03-01T12:00:00Z.") from None


def _events(server: Server, query: list[tuple[str, str]]) -> list[Json]:
    page: Any = server.get(f"{AUDIT}/events", query)
    events = page.get("_embedded", {}).get("events") if isinstance(page, dict) else None
    if not isinstance(events, list):
        raise NotAContractServerError
    return events


def _changes(before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> Iterator[str]:
    """Each changed field with its old and new value."""
    for one in audit_changes.changes(before, after):
        was = f"{one.before} → " if one.before is not None else ""
        yield f"{one.name}: {was}{'none' if one.after is None else one.after}"
