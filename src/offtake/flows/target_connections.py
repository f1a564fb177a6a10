"""Target connections: the location and file format of exports (contract, sections 6.4 and 13.3)."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract import bodies, entities, json_patch_rules, problems
from offtake.contract.bodies import NewEntity, Sent, SpecRef
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.json_patch_rules import Patch, Patchable, Rules
from offtake.contract.problems import Problem
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.flows import connections, queries, references, specs
from offtake.store import leftovers, waits
from offtake.store.tables import Connection, TargetConnection

KIND: Final = "targetConnections"
OUTPUT: Final = {"outputType": queries.OUTPUT}


class NewTargetConnection(NewEntity):
    """`POST /targetConnections`."""

    base_connection_id: str
    connection_spec: SpecRef
    params: dict[str, Any] = Field(
        description="The keys of the connection spec's `targetSpec`. All destinations have:\n\n"
        + schema.shared_params()
    )


class PatchedTarget(NewEntity):
    """A target connection after a patch."""

    params: dict[str, Any]


_RULES: Final = Rules(
    {
        "/name": Patchable(),
        "/description": Patchable(("add", "replace", "remove")),
        "/params": Patchable(("add", "replace"), merges=True, key_ops=("add", "replace", "remove")),
    },
    {
        "/connectionSpec": Problem(problems.OTHER_SPEC, "The connectionSpec of a connection cannot be changed."),
        "/baseConnectionId": Problem(
            problems.NOT_UPDATABLE,
            "The base connection of a target connection cannot be changed; create a target connection.",
        ),
    },
)


def create(session: Session, caller: Caller, body: Sent, now_ms: int) -> TargetConnection:
    """Store a target connection; its params must match the destination's `targetSpec`."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    caller.require(VIEW_DESTINATIONS)
    new = bodies.parse_body(NewTargetConnection, body)
    connections.check_version(new.connection_spec)
    destination = specs.destination_of_connection(new.connection_spec.id)
    base = entities.find(session, caller, Connection, "connections", new.base_connection_id)
    if base.connection_spec_id != destination.connection_spec_id:
        raise Problem(
            problems.OTHER_SPEC,
            f"connectionSpec must be that of the base connection: {base.connection_spec_id}.",
            "connections",
            base.id,
        )
    row = TargetConnection(
        **entities.creation_columns(caller, now_ms),
        name=new.name,
        description=new.description,
        state=entities.ENABLED,
        connection_spec_id=destination.connection_spec_id,
        base_connection_id=base.id,
        params=_params(destination, new.params),
    )
    session.add(row)
    audit.record(session, caller, now_ms, "create", (KIND, row.id), name=row.name, after=render(session, row, caller))
    return row


def update(
    session: Session, caller: Caller, row_id: str, body: Patch, if_match: str | None, now_ms: int
) -> TargetConnection:
    """Apply a patch to a target connection; later and waiting runs deliver to the new location."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, TargetConnection, KIND, row_id, lock=True)
    entities.check_version(row, if_match)
    before = render(session, row, caller)
    document = {"name": row.name, "description": row.description, "params": row.params}
    after = bodies.parse_document(PatchedTarget, json_patch_rules.apply(document, json_patch_rules.parse(body), _RULES))
    row.name, row.description = after.name, after.description
    row.params = _params(specs.destination_of_connection(row.connection_spec_id), after.params)
    waits.wake_target(session, row.id, now_ms)
    entities.set_updated(row, caller, now_ms)
    shown = render(session, row, caller)
    audit.record(session, caller, now_ms, "update", (KIND, row.id), name=row.name, before=before, after=shown)
    return row


def delete(session: Session, caller: Caller, row_id: str, now_ms: int, *, force: bool = False) -> None:
    """Delete a target connection.

    Raises 1447 while flows or runs use it and, unless forced, while files of runs are still to be removed.
    """
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, TargetConnection, KIND, row_id, lock=True)
    references.check_target_unused(session, row)
    before = render(session, row, caller)
    if force:
        # Record these files in the audit log: no other record remains.
        left = [run.id for run in leftovers.runs_with_files_at(session, [row.id])]
        before |= {"toBeRemoved": left} if left else {}
        leftovers.give_up(session, row.id)
    else:
        references.check_nothing_left(session, row)
    audit.record(session, caller, now_ms, "delete", (KIND, row.id), name=row.name, before=before)
    session.delete(row)


def _params(destination: Destination, sent: Json) -> Json:
    try:
        return schema.redact(schema.parse_target_params(destination, sent))
    except InvalidInputError as error:
        raise problems.of_fields(error) from None


def render(session: Session, row: TargetConnection, caller: Caller) -> Json:
    """Render the target connection for the API."""
    return render_all(session, [row], caller)[0]


def render_all(session: Session, rows: Sequence[TargetConnection], caller: Caller) -> list[Json]:
    """Render the target connections for the API, with one query per kind of referenced entity."""
    bases = entities.by_id(session, Connection, [row.base_connection_id for row in rows])
    return [
        entities.entity_fields(row, caller)
        | {
            "baseConnectionId": row.base_connection_id,
            "connectionSpec": entities.spec_ref(row.connection_spec_id),
            "data": OUTPUT,
            "params": row.params,
            "inheritedAttributes": {"baseConnection": connections.reference(bases[row.base_connection_id])},
        }
        for row in rows
    ]
