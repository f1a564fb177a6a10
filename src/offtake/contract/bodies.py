"""Request bodies: parsed from JSON into models, with every invalid field named."""

import json
import math
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.errors import FieldProblem, InvalidInputError

Json = dict[str, Any]
Sent = bytes | Json
"""A request's body: JSON as it came, or a document made in this process."""
BodyT = TypeVar("BodyT", bound="Body")
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
