"""The sentences for values that Pydantic refuses."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from offtake.errors import FieldProblem
from offtake.invalid_values import problem_of


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=5, pattern="^[a-z]*$")] = "a"
    code: Annotated[str, Field(min_length=3)] = "abc"
    token: Annotated[SecretStr, Field(min_length=3)] = SecretStr("abc")
    port: Annotated[int, Field(ge=1, le=65_535)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    mode: Literal["text", "refuse"] = "text"
    flag: bool = False
    tags: Annotated[list[str], Field(min_length=1, max_length=2)] = ["a"]
    inner: dict[str, str] = {}

    @field_validator("code")
    @classmethod
    def check(cls, value: str) -> str:
        if value == "bad":
            raise ValueError("must not be bad")
        return value


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"name": ""}, "must not be empty"),
        ({"name": "abcdef"}, "must have at most 5 characters"),
        ({"name": "A"}, "must match the pattern ^[a-z]*$"),
        ({"name": 1}, "must be text"),
        ({"code": "a"}, "must have at least 3 characters"),
        ({"token": "a"}, "must have at least 3 characters"),
        ({"code": "bad"}, "must not be bad"),
        ({"port": "x"}, "must be a whole number"),
        ({"port": 1.5}, "must be a whole number"),
        ({"port": 0}, "must be at least 1"),
        ({"port": 70_000}, "must be at most 65535"),
        ({"share": 0}, "must be more than 0.0"),
        ({"share": 1}, "must be less than 1.0"),
        ({"share": "x"}, "must be a number"),
        ({"mode": "x"}, "must be 'text' or 'refuse'"),
        ({"flag": "x"}, "must be true or false"),
        ({"tags": []}, "must not be empty"),
        ({"tags": ["a"] * 3}, "must have at most 2 entries"),
        ({"tags": "a"}, "must be a list"),
        ({"inner": []}, "must be an object"),
        ({"other": 1}, "is unknown"),
    ],
)
def test_each_kind_of_value_is_refused_in_a_plain_sentence(sent: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Form.model_validate(sent)
    (error,) = refused.value.errors()
    assert problem_of(error, "/params") == FieldProblem(f"/params/{next(iter(sent))}", message)


def test_a_missing_field_is_marked_and_the_document_itself_has_the_path_of_its_root() -> None:
    class Needs(BaseModel):
        name: str

    with pytest.raises(ValidationError) as missing:
        Needs.model_validate({})
    assert problem_of(missing.value.errors()[0]) == FieldProblem("/name", "is required", missing=True)
    with pytest.raises(ValidationError) as other:
        Needs.model_validate([])
    assert problem_of(other.value.errors()[0]) == FieldProblem("/", "must be an object")
