"""Sentences for values that Pydantic refuses: one table, for the API, the pages, the command line and settings."""

from collections.abc import Mapping
from typing import Any, Final

from offtake.errors import FieldProblem

_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is unknown",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
"""By Pydantic's type of the error; the braces name an entry of its `ctx`. Others keep Pydantic's own sentence."""


def message_of(error: Any) -> str:  # noqa: ANN401 - Pydantic's error details are a plain dict
    """What is wrong with the value, to follow the field's name: `must be at most 5`."""
    kind, limits = error["type"], error.get("ctx", {})
    if kind in ("string_too_short", "too_short") and limits["min_length"] == 1:
        return "must not be empty"
    if kind in ("too_short", "too_long") and isinstance(error.get("input"), str):
        # Pydantic counts the characters of a secret as entries.
        kind = f"string_{kind}"
    if kind in _MESSAGES:
        return _MESSAGES[kind].format_map(limits)
    return str(error["msg"]).removeprefix("Value error, ")


def problem_of(error: Any, prefix: str = "") -> FieldProblem:  # noqa: ANN401 - as above
    """The problem of the field; `prefix`: the JSON pointer of the document in which the error was found."""
    path = "/".join([prefix, *map(str, error["loc"])])
    return FieldProblem(path if path.startswith("/") else f"/{path}", message_of(error), error["type"] == "missing")
