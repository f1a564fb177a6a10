"""The commands `offtake audit …`."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import typer

from offtake.access import audit_changes, audit_events, audit_filters, audit_log
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, administering

_WIDEST: Final = 200


def list_(
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
    limit: Annotated[int, typer.Option("--limit", min=1, max=audit_log.MOST, help="Maximum number of changes.")] = 100,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List changes, the latest first."""
    filters = {"action": action, "clientId": client, "sandboxName": sandbox}
    query = audit_log.new_query([f"{name}=={value}" for name, value in filters.items() if value], None)
    also = [audit_filters.about(resource)] if resource else []
    if since:
        also.append(audit_filters.since(math.ceil(audit_filters.instant("--since", since))))
    with administering(data_dir) as (backend, caller), backend.database.reading() as session:
        found = [audit_events.render(row) for row in audit_log.latest(session, caller, query, limit, also)]
    if json:
        output.as_json(found)
        return
    rows = [
        (
            one["timestamp"],
            one["clientId"],
            one["action"],
            one["assetType"],
            one.get("assetName", one["assetId"]),
            one.get("sandboxName"),
            "; ".join(_changes(one["before"], one["after"]))[:_WIDEST],
        )
        for one in found
    ]
    output.table(("TIMESTAMP", "CLIENT", "ACTION", "ASSET TYPE", "ASSET", "SANDBOX", "CHANGES"), rows, "No changes.")


def _changes(before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> Iterator[str]:
    """Each changed field with its old and new value."""
    for one in audit_changes.changes(before, after):
        was = f"{one.before} → " if one.before is not None else ""
        yield f"{one.name}: {was}{'none' if one.after is None else one.after}"
