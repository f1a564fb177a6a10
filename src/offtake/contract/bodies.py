"""Request bodies: parsed from JSON into models; an error names every invalid field."""

import json
import math
from typing import Any, Final, NoReturn, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.invalid_values import problem_of

Sent = bytes | Json
"""A request body: JSON as received, or a document built in this process."""
BodyT = TypeVar("BodyT", bound="Body")
_MAX_DEPTH: Final = 64


class Body(BaseModel):
    """A request body with camel-case keys; unknown keys are ignored, as the contract requires (5.7)."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_true(cls, value: object, info: ValidationInfo) -> object:
        """Pydantic would read `true` as 1."""
        if isinstance(value, bool):
            annotation = cls.model_fields[info.field_name or ""].annotation
            if annotation is int or (int in get_args(annotation) and bool not in get_args(annotation)):
                raise ValueError("must be a whole number")
        return value


class SpecRef(Body):
    """A reference to a connection spec or flow spec."""

    id: str
    version: str | None = None


class NewEntity(Body):
    """Fields of every request that creates an entity."""

    name: str = Field(min_length=1, max_length=1000)
    description: str | None = None


def parse_body(model: type[BodyT], body: Sent) -> BodyT:
    """Parse a body into its model; raises `Problem` with every missing or invalid field."""
    document = parse_json(body) if isinstance(body, bytes) else body
    if not isinstance(document, dict) or not document:
        raise Problem(problems.EMPTY_BODY, "The request body must be a JSON object that is not empty.")
    return parse_document(model, document)


def parse_document(model: type[BodyT], document: object) -> BodyT:
    """Parse a document into its model; raises `Problem` as `parse_body` does."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise problems.of_fields(InvalidInputError(list(map(problem_of, error.errors())))) from None


def parse_json(body: bytes) -> object:
    """Parse JSON; raises 1405 with the position of the syntax error."""
    if not body.strip():
        raise Problem(problems.EMPTY_BODY, "The request body is empty.")
    try:
        document: object = json.loads(body, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise Problem(problems.EMPTY_BODY, f"The request body is not valid JSON: {error.msg} at {position}.") from None
    except (ValueError, RecursionError):
        raise Problem(problems.EMPTY_BODY, "The request body is not valid JSON in UTF-8.") from None
    _check_storable(document)
    return document


def check_text(text: str, path: str) -> None:
    """Raise 1452 for text that databases cannot store: NUL characters and unpaired surrogates."""
    if "\x00" in text:
        raise problems.of_field(path, "contains a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise problems.of_field(path, "contains an unpaired surrogate")


def _check_storable(document: object) -> None:
    """Raise 1452 for text, numbers or nesting that cannot be stored or returned."""
    level = [document]
    for _ in range(_MAX_DEPTH):
        for value in level:
            if isinstance(value, str):
                check_text(value, "/")
            elif isinstance(value, float) and not math.isfinite(value):
                raise problems.of_field("/", "contains a number that is too large")
        level = [inner for value in level if isinstance(value, (dict, list)) for inner in _inner(value)]
        if not level:
            return
    raise problems.of_field("/", f"is nested more than {_MAX_DEPTH} levels deep")


def _inner(value: Json | list[Any]) -> list[Any]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
