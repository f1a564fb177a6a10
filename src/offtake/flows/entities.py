"""What every entity of Flow Service has in common: its stamp, its envelope, and how request bodies are read."""

import json
import math
from collections.abc import Iterable
from typing import Any, Final, NoReturn, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows import problems
from offtake.flows.access import Caller
from offtake.flows.problems import Problem
from offtake.store.tables import Entity, Stamp

Json = dict[str, Any]
Sent = bytes | Json
"""A request's body: JSON as it came, or a document made in this process."""

StampT = TypeVar("StampT", bound=Stamp)
BodyT = TypeVar("BodyT", bound="Body")

ENABLED = "enabled"
SPEC_VERSION = "1.0"
_DEEPEST: Final = 64


class Body(BaseModel):
    """A request body: camel-case keys; unknown keys are ignored, as the contract says of entities (5.7)."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)


class SpecRef(Body):
    """A reference to a connection spec or flow spec."""

    id: str
    version: str | None = None


class NewEntity(Body):
    """What creating any entity takes."""

    name: str = Field(min_length=1, max_length=1000)
    description: str | None = None


def parse_body(model: type[BodyT], body: Sent) -> BodyT:
    """The body as its model; raises `Problem` naming every field that is missing or cannot be used."""
    document = parse_json(body) if isinstance(body, bytes) else body
    if not isinstance(document, dict) or not document:
        raise Problem(problems.EMPTY_BODY, "The request body must be a JSON object that is not empty.")
    return parse_document(model, document)


def parse_document(model: type[BodyT], document: object) -> BodyT:
    """The document as its model; raises `Problem` as `parse_body` does."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise problems.of_fields(InvalidInputError([_field_problem(one) for one in error.errors()])) from None


def parse_json(body: bytes) -> object:
    """The JSON document; raises 1405 saying where it is malformed."""
    if not body.strip():
        raise Problem(problems.EMPTY_BODY, "The request body is empty.")
    try:
        document: object = json.loads(body, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(problems.EMPTY_BODY, f"The request body is not valid JSON: {error.msg} at {where}.") from None
    except (ValueError, RecursionError):
        raise Problem(problems.EMPTY_BODY, "The request body is not valid JSON in UTF-8.") from None
    _check_storable(document)
    return document


def check_text(text: str, where: str) -> None:
    """Raise 1452 for text that databases do not take: NUL characters, and halves of characters."""
    if "\x00" in text:
        raise problems.of_field(where, "holds a NUL character")
    if any("\ud800" <= one <= "\udfff" for one in text):
        raise problems.of_field(where, "holds half of a surrogate pair")


def _check_storable(document: object) -> None:
    """Every text, number and depth of a document can be stored and sent again; raises 1452."""
    level = [document]
    for _ in range(_DEEPEST):
        for one in level:
            if isinstance(one, str):
                check_text(one, "/")
            elif isinstance(one, float) and not math.isfinite(one):
                raise problems.of_field("/", "holds a number that is too large")
        level = [inner for one in level if isinstance(one, (dict, list)) for inner in _inner(one)]
        if not level:
            return
    raise problems.of_field("/", f"is nested more than {_DEEPEST} levels deep")


def _inner(value: Json | list[Any]) -> list[Any]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _field_problem(error: Any) -> FieldProblem:  # noqa: ANN401 - pydantic's error details are a plain dict
    path = "/" + "/".join(str(step) for step in error["loc"])
    missing = error["type"] == "missing"
    return FieldProblem(path, "is required" if missing else error["msg"], missing)


def stamp(caller: Caller, now_ms: int) -> dict[str, Any]:
    """The columns of a new row that say who made it, when and where."""
    return {
        "id": str(uuid4()),
        "org_id": caller.org_id,
        "sandbox_id": caller.sandbox_id,
        "created_at": now_ms,
        "updated_at": now_ms,
        "created_by": caller.account_id,
        "updated_by": caller.account_id,
        "created_client": caller.client_id,
        "updated_client": caller.client_id,
        "version": str(uuid4()),
    }


def etag(row: Stamp) -> str:
    """The version with its own quotes, as the contract has it (5.6)."""
    return f'"{row.version}"'


def changed(row: Stamp) -> Json:
    """The answer to whatever made or changed a row."""
    return {"id": row.id, "etag": etag(row)}


def parse_versions(if_match: str | None) -> set[str]:
    """The versions that an `If-Match` or `If-None-Match` names, without their quotes."""
    return {one.strip().removeprefix("W/").strip('"') for one in (if_match or "").split(",") if one.strip()}


def check_version(row: Stamp, if_match: str | None) -> None:
    """Raise 1403 without `If-Match`, 1404 when it is not the row's version; quotes may be missing, `*` fits all."""
    given = (if_match or "").strip()
    if not given:
        raise Problem(
            problems.NO_IF_MATCH, f"If-Match is missing, as a header and in the query; send the etag {etag(row)}."
        )
    if given not in ("*", etag(row), row.version):
        raise Problem(
            problems.OTHER_VERSION,
            f"Supplied version=[{given[:100]}] does not match the current version on entity=[{etag(row)}]",
        )


def touch(row: Stamp, caller: Caller, now_ms: int) -> None:
    """A row that the caller changes: who, when, and a new version."""
    row.updated_at, row.updated_by, row.updated_client = now_ms, caller.account_id, caller.client_id
    row.version = str(uuid4())


def envelope(row: Stamp, caller: Caller) -> Json:
    """The system fields of an entity (contract, section 6.1)."""
    return {
        "id": row.id,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "createdBy": row.created_by,
        "updatedBy": row.updated_by,
        "createdClient": row.created_client,
        "updatedClient": row.updated_client,
        "sandboxId": row.sandbox_id,
        "sandboxName": caller.sandbox_name,
        "imsOrgId": row.org_id,
    }


def head(row: Entity, caller: Caller) -> Json:
    """The envelope with the fields that connections and flows share."""
    described = {} if row.description is None else {"description": row.description}
    return envelope(row, caller) | {"name": row.name, **described, "state": row.state, **versions(row)}


def versions(row: Stamp) -> Json:
    """`version` and `etag`, which are equal."""
    return {"version": etag(row), "etag": etag(row)}


def spec_ref(spec_id: str) -> Json:
    """A reference to a spec as entities show it."""
    return {"id": spec_id, "version": SPEC_VERSION}


def find(
    session: Session, caller: Caller, table: type[StampT], resource_type: str, row_id: str, *, lock: bool = False
) -> StampT:
    """The caller's row of that id, with `lock` for nobody else to change; raises 1439 when there is none."""
    row = session.get(table, row_id, with_for_update=lock or None)
    if row is None or row.sandbox_id != caller.sandbox_id:
        raise problems.not_found(resource_type, row_id)
    return row


def by_id(session: Session, table: type[StampT], ids: Iterable[str]) -> dict[str, StampT]:
    """The rows with those ids, by id."""
    return {row.id: row for row in session.scalars(select(table).where(table.id.in_(set(ids))))}
