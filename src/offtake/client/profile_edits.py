"""Changes of the file of profiles, which keep its other content and its comments."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from offtake.client.profiles import config_file, read_profiles
from offtake.errors import OfftakeError

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HEADER: Final = re.compile(r"\s*\[")
_DEFAULT: Final = re.compile(r"\s*default\s*=")


def store(name: str, values: Mapping[str, str], *, default: bool) -> None:
    """Add a profile or replace it; `default`: make it the default one. Raises `OfftakeError`."""
    if not _NAME.fullmatch(name):
        raise OfftakeError(f"{name[:100]} is not a name of a profile: use letters, digits, - and _.")
    lines = _without(_read(), name)
    lines += ["", f"[profiles.{name}]", *(f"{key} = {_text(value)}" for key, value in values.items())]
    _write(_with_default(lines, name) if default else lines)


def remove(name: str) -> None:
    """Remove a profile; it is not the default one any more. Raises `OfftakeError` when there is none."""
    _check(name)
    lines = _without(_read(), name)
    if tomllib.loads("\n".join(_read())).get("default") == name:
        lines = _with_default(lines, None)
    _write(lines)


def use(name: str) -> None:
    """Make a profile the default one. Raises `OfftakeError` when there is none."""
    _check(name)
    _write(_with_default(_read(), name))


def _check(name: str) -> None:
    known = read_profiles(config_file())
    if name not in known:
        raise OfftakeError(f"There is no profile {name[:100]}. There are: {', '.join(known) or 'none'}.")


def _read() -> list[str]:
    try:
        return config_file().read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _without(lines: list[str], name: str) -> list[str]:
    """The lines without the table of that profile, which ends at the next table."""
    found, inside = [], False
    header = re.compile(rf"\s*\[\s*profiles\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]")
    for line in lines:
        if _HEADER.match(line):
            inside = header.match(line) is not None
        if not inside:
            found.append(line)
    while found and not found[-1].strip():
        found.pop()
    return found


def _with_default(lines: list[str], name: str | None) -> list[str]:
    """The lines with that default, or without one; it comes before all tables."""
    first = next((number for number, line in enumerate(lines) if _HEADER.match(line)), len(lines))
    head = [line for line in lines[:first] if not _DEFAULT.match(line)]
    return ([] if name is None else [f"default = {_text(name)}"]) + head + lines[first:]


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's too."""
    return json.dumps(value, ensure_ascii=False)


def _write(lines: list[str]) -> None:
    """Replace the file at once; only this user can read it."""
    file = config_file()
    text = "\n".join(lines).lstrip("\n") + "\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OfftakeError(f"{file} cannot be changed: {error}. Edit it by hand.") from None
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = Path(file.parent, f".{uuid4()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
