"""Secrets by reference: resolved here, at the client, and compared with the server's by keyed hashes."""

import base64
import getpass
import hashlib
import hmac
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offtake.errors import OfftakeError

ENVIRONMENT: Final = "env:"
FILE: Final = "file:"
PROMPT: Final = "prompt:"
PREFIXES: Final = (ENVIRONMENT, FILE, PROMPT)
PATTERN: Final = "^(env:.+|file:.+|prompt:.*)$"
SHOWN: Final = "(secret)"
_ARMOR: Final = b"-----BEGIN"
_LARGEST: Final = 1_000_000


def is_reference(value: object) -> bool:
    """Whether a value names where the secret is, instead of being one."""
    return isinstance(value, str) and value.startswith(PREFIXES)


def ask(text: str) -> str:
    """Ask for a secret on the terminal, without showing it. Raises `OfftakeError` without a terminal."""
    if not sys.stdin.isatty():
        raise OfftakeError("there is no terminal to ask on")
    return getpass.getpass(f"{text}: ", sys.stderr)


@dataclass
class Resolver:
    """Resolves references; each prompt is shown once."""

    prompt: Callable[[str], str] = ask
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _asked: dict[str, str] = field(default_factory=dict)

    def resolve(self, reference: str, label: str, folder: Path, *, encode: bool = False) -> str:
        """The secret. `label`: for a prompt. `folder`: of relative paths. Raises `OfftakeError`, without the secret.

        `encode`: the secret is a file in Base64; a file of armored text is encoded here.
        """
        if reference.startswith(ENVIRONMENT):
            name = reference.removeprefix(ENVIRONMENT)
            if not self.environment.get(name):
                raise OfftakeError(f"cannot be read: the environment has no variable {name}")
            return self.environment[name]
        if reference.startswith(FILE):
            return _read(folder / Path(reference.removeprefix(FILE)).expanduser(), encode=encode)
        question = reference.removeprefix(PROMPT).strip() or label
        if question not in self._asked:
            try:
                self._asked[question] = self.prompt(question)
            except (OfftakeError, EOFError) as error:
                raise OfftakeError(f"cannot be asked for: {error or 'the input ended'}") from None
        return self._asked[question]


def digest(key: bytes, kind: str, resource_id: str, name: str, value: str) -> str:
    """The keyed hash that a server compares with that of its stored secret."""
    return hmac.new(key, f"{kind}/{resource_id}/{name}\0{value}".encode(), hashlib.sha256).hexdigest()


def _read(path: Path, *, encode: bool) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise OfftakeError(f"cannot be read: {path}: {error.strerror or error}") from None
    if not content.strip() or len(content) > _LARGEST:
        raise OfftakeError(f"cannot be read: {path} is {'too large' if content.strip() else 'empty'}")
    if encode and content.lstrip().startswith(_ARMOR):
        return base64.b64encode(content).decode()
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise OfftakeError(f"cannot be read: {path} is not UTF-8 text") from None
