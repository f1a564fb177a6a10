"""Secrets of commands: from a file, from an environment variable, or typed at a prompt; never from an argument."""

import base64
import os
import sys
from pathlib import Path
from typing import Final

import typer

from offtake.client.destinations import Field
from offtake.errors import WrongUsageError

_VARIABLE: Final = "env:"
_PEM: Final = b"-----BEGIN"


def check_reference(option: str, given: str) -> None:
    """Raise `WrongUsageError` for a secret that was typed as the option's value. The message does not contain it."""
    if not given.startswith(_VARIABLE) or given == _VARIABLE:
        raise WrongUsageError(
            f"{option} must not be the secret itself, which shells record and other users can see. Give "
            f"{option} env:VARIABLE or {option}-file FILE, or leave the option out and type the secret when asked."
        )


def read_secret(field: Field, reference: str | None, file: Path | None) -> str | None:
    """The secret that the options refer to, in the API's form; None when none is given."""
    if reference is not None and file is not None:
        raise WrongUsageError(f"Give {field.option} or {field.option}-file, not both.")
    if reference is not None:
        check_reference(field.option, reference)
        return _of_variable(field, reference.removeprefix(_VARIABLE))
    if file is not None:
        return _of_file(field, file)
    return None


def check_prompt(field: Field) -> None:
    """Raise `WrongUsageError` if the secret cannot be asked for: no terminal, or the content of a file."""
    if not sys.stdin.isatty() or field.base64:
        raise WrongUsageError(
            f"{field.option} is missing: give {field.option} env:VARIABLE or {field.option}-file FILE."
        )


def prompt_for(field: Field) -> str:
    """Ask for a secret without echo; raises as `check_prompt` does."""
    check_prompt(field)
    return str(typer.prompt(field.word.replace("-", " ").capitalize(), hide_input=True, err=True))


def _of_variable(field: Field, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise WrongUsageError(f"{field.option}: the environment variable {name} is not set.")
    return _encoded(field, value.encode())


def _of_file(field: Field, file: Path) -> str:
    try:
        content = file.expanduser().read_bytes()
    except OSError as error:
        raise WrongUsageError(f"{field.option}-file: {file} cannot be read: {error.strerror}.") from None
    if not content.strip():
        raise WrongUsageError(f"{field.option}-file: {file} is empty.")
    try:
        return _encoded(field, content)
    except UnicodeDecodeError:
        raise WrongUsageError(f"{field.option}-file: {file} is not text.") from None


def _encoded(field: Field, content: bytes) -> str:
    """The text; a key file that the API takes as Base64 is encoded, unless it is already."""
    if field.base64 and content.lstrip().startswith(_PEM):
        return base64.b64encode(content.strip() + b"\n").decode()
    return content.decode().strip()
