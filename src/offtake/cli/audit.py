"""The commands `offtake audit …`."""

import json as encoding
from typing import Annotated

import typer

from offtake.cli import show
from offtake.cli.options import AsJson, DataDir, administering
from offtake.flows import audit_log
from offtake.flows.audit_log import AuditQuery


def list_(
    since: Annotated[str | None, typer.Option("--since", help="From this instant on, such as 2026-03-01.")] = None,
    resource: Annotated[str | None, typer.Option("--resource", help="An id, a name, or a type such as flows.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Such as create, update, delete, grant.")] = None,
    client: Annotated[str | None, typer.Option("--client", help="Who made the change, by client id.")] = None,
    sandbox: Annotated[str | None, typer.Option("--sandbox", help="Only in this sandbox.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=audit_log.MOST, help="How many.")] = 100,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List changes, the latest first."""
    query = AuditQuery(
        limit=limit,
        resource=resource,
        action=action,
        client_id=client,
        sandbox=sandbox,
        since=audit_log.instant("--since", since),
    )
    with administering(data_dir) as (backend, caller), backend.database.reading() as session:
        found = [audit_log.render(row) for row in audit_log.events(session, caller, query)[0]]
    if json:
        show.as_json(found)
        return
    rows = [
        (
            show.instant(one["at"]),
            one["clientId"],
            one["action"],
            one["resourceType"],
            one["resourceName"] or one["resourceId"],
            one["sandboxName"],
            "" if one["after"] is None else encoding.dumps(one["after"], ensure_ascii=False)[:120],
        )
        for one in found
    ]
    show.table(("AT", "CLIENT", "ACTION", "TYPE", "RESOURCE", "SANDBOX", "AFTER"), rows, "Nothing was changed yet.")
