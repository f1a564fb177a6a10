"""Credentials from the options of a command: which authentication method, and its params as the API takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offtake.cli.derived_options import FILE, name_of
from offtake.cli.secrets_given import check_prompt, read_secret
from offtake.client.destinations import AuthMethod, Destination, Field, distinct
from offtake.documents import Json
from offtake.errors import WrongUsageError

Given = Mapping[str, Any]
"""The values of options, by parameter; None for options that are not given."""


def choose_method(destination: Destination, word: str | None, given: Given) -> AuthMethod:
    """The named method, else the first that has all given options. Raises `WrongUsageError`."""
    methods = destination.auth_methods
    words = ", ".join(one.word for one in methods)
    named = [one for one in methods if word in (None, one.word)]
    if not named:
        raise WrongUsageError(f"--auth {word}: must be one of {words}.")
    options = given_options(distinct(field for one in methods for field in one.fields), given)
    fitting = [one for one in named if not _unknown(one, options)]
    if fitting:
        return fitting[0]
    if len(named) == 1:
        allowed = ", ".join(field.option for field in named[0].fields)
        wrong = ", ".join(_unknown(named[0], options))
        raise WrongUsageError(f"{wrong}: not an option of --auth {named[0].word}, which has {allowed}.")
    raise WrongUsageError(f"{', '.join(options)} cannot be combined: choose one authentication, --auth {words}.")


def given_options(fields: Sequence[Field], given: Given) -> list[str]:
    """The options that are given, of these fields."""
    return [one.option for one in fields if is_given(one, given)]


def is_given(field: Field, given: Given) -> bool:
    """Whether the field's value, or its secret, is given."""
    name = name_of(field)
    return given.get(name) is not None or given.get(name + FILE) is not None


def new_params(method: AuthMethod, given: Given) -> tuple[Json, Sequence[Field]]:
    """The given params of new credentials, and the secrets to ask for. Raises `WrongUsageError`.

    Without a terminal, a missing secret is an error.
    """
    missing = [one.option for one in method.fields if one.required and one.is_typed and not is_given(one, given)]
    if missing:
        raise WrongUsageError(f"{', '.join(missing)}: required for --auth {method.word}.")
    params = changed_params(method.fields, given)
    asked = [one for one in method.fields if one.required and one.key not in params]
    for one in asked:
        check_prompt(one)
    return params, asked


def changed_params(fields: Sequence[Field], given: Given) -> Json:
    """The params that are given. Raises `WrongUsageError` for values that the declaration does not allow."""
    found: Json = {}
    for field in fields:
        name = name_of(field)
        value = value_of(field, given.get(name)) if field.is_typed else _secret(field, given, name)
        if value is not None:
            found[field.key] = value
    return found


def value_of(field: Field, value: object) -> object:
    """The value of an option that is not secret; choices may be typed in lower case."""
    if isinstance(value, str) and value and field.choices:
        chosen = next((one for one in field.choices if one.lower() == value.lower()), None)
        if chosen is None:
            raise WrongUsageError(f"{field.option} {value[:100]}: must be one of {', '.join(field.choices)}.")
        return chosen
    return value


def _secret(field: Field, given: Given, name: str) -> str | None:
    file: Path | None = given.get(name + FILE)
    return read_secret(field, given.get(name), file)


def _unknown(method: AuthMethod, options: Sequence[str]) -> list[str]:
    known = [field.option for field in method.fields]
    return [one for one in options if one not in known]
