"""Properties of catalogs as options: values, and secrets from a prompt, a file or the environment."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from offtake.errors import OfftakeError
from offtake.lake.catalogs import declarations

_ENVIRONMENT: Final = "env:"


def _types(incomplete: str) -> list[str]:
    return [one for one in declarations.TYPES if one.startswith(incomplete)]


def _properties(ctx: typer.Context, incomplete: str) -> list[str]:
    kind = declarations.TYPES.get(str(ctx.params.get("kind")))
    known = declarations.TYPES.values() if kind is None else (kind,)
    found = dict.fromkeys(one.name for of_kind in known for one in of_kind.properties if not one.secret)
    return [f"{one}=" for one in found if one.startswith(incomplete)]


def _secrets(ctx: typer.Context, incomplete: str) -> list[str]:
    kind = declarations.TYPES.get(str(ctx.params.get("kind")))
    known = declarations.TYPES.values() if kind is None else (kind,)
    found = dict.fromkeys(one.name for of_kind in known for one in of_kind.properties if one.secret)
    return [one for one in found if one.startswith(incomplete)]


KindName = Annotated[
    str, typer.Option("--type", help=f"One of: {', '.join(declarations.TYPES)}.", autocompletion=_types)
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        help="NAME=VALUE; the value env:VARIABLE is read from the environment.",
        autocompletion=_properties,
    ),
]
SecretFiles = Annotated[
    list[str] | None, typer.Option("--secret-file", help="NAME=FILE: the property's value is the file's content.")
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        help="NAME: the property's value is asked for, and not shown. NAME=env:VARIABLE: it is in the environment.",
        autocompletion=_secrets,
    ),
]


def read(properties: Sequence[str], files: Sequence[str], secrets: Sequence[str]) -> dict[str, str]:
    """The values of the options, by property. Raises `OfftakeError` for options that are not of their form."""
    found: dict[str, str] = {}
    for option, given in (("--property", properties), ("--secret-file", files)):
        for one in given:
            name, sign, value = one.partition("=")
            if not sign or not name:
                raise OfftakeError(f"{option}: give NAME=VALUE, such as uri=https://catalog.example.org.")
            _put(found, name, _content(name, value) if option == "--secret-file" else _value(option, name, value))
    for one in secrets:
        name, sign, value = one.partition("=")
        if sign and not value.startswith(_ENVIRONMENT):
            raise OfftakeError(
                f"--secret {name}: a secret on the command line is visible to other users of the machine. Give "
                f"--secret {name}, --secret {name}=env:VARIABLE or --secret-file {name}=FILE."
            )
        _put(found, name, _value("--secret", name, value) if sign else typer.prompt(name, hide_input=True))
    return found


def _put(found: dict[str, str], name: str, value: str) -> None:
    if name in found:
        raise OfftakeError(f"Property {name} is given twice: name it once.")
    found[name] = value


def _value(option: str, name: str, value: str) -> str:
    if not value.startswith(_ENVIRONMENT):
        return value
    variable = value.removeprefix(_ENVIRONMENT)
    if variable not in os.environ:
        raise OfftakeError(f"{option} {name}: the environment has no variable {variable}.")
    return os.environ[variable]


def _content(name: str, file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OfftakeError(f"--secret-file {name}: {file} cannot be read: {error}.") from None
