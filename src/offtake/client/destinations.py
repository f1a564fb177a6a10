"""The destinations' declarations, for clients: generated from `offtake.destinations`, without its libraries."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from offtake.documents import Json

MASK: Final = "********"
"""What the API returns in place of a secret; sent back, the secret stays as stored."""
_NOT_SECRET: Final = ("s3Role",)
_CAPITAL: Final = re.compile("(?=[A-Z])")


@dataclass(frozen=True)
class Field:
    """One param of credentials or of a target. `key`: in the API; `help`: a sentence; `choices`: empty for any text.

    `base64`: the API takes the content encoded. `pinned`: keeps its value when credentials are sent without it.
    """

    key: str
    help: str
    type: str
    choices: Sequence[str] = ()
    required: bool = False
    secret: bool = False
    base64: bool = False
    pinned: bool = False

    @property
    def is_typed(self) -> bool:
        """Whether its value may be an argument of a command: what is not secret, and the ARN of a role.

        The contract masks the ARN as it masks secrets.
        """
        return not self.secret or self.key in _NOT_SECRET

    @property
    def option(self) -> str:
        """The option that sets it, such as `--bucket-name`."""
        return f"--{self.word}"

    @property
    def word(self) -> str:
        """The key in lower case, with hyphens."""
        return _CAPITAL.sub("-", self.key).lower()


@dataclass(frozen=True)
class AuthMethod:
    """A way to authenticate. `name`: the contract's `specName`; `word`: in commands."""

    name: str
    word: str
    about: str
    fields: Sequence[Field]

    def field(self, key: str) -> Field | None:
        """The param with that key."""
        return _by_key(self.fields, key)


@dataclass(frozen=True)
class Destination:
    """A destination. `word`: in commands, such as `sftp`."""

    word: str
    name: str
    connection_spec_id: str
    flow_spec_id: str
    auth_methods: Sequence[AuthMethod]
    target_fields: Sequence[Field] = field(repr=False)

    def auth_method(self, name: str) -> AuthMethod | None:
        """The method with that `specName`."""
        return next((one for one in self.auth_methods if one.name == name), None)

    def target_field(self, key: str) -> Field | None:
        """The target's param with that key."""
        return _by_key(self.target_fields, key)


@cache
def destinations() -> Sequence[Destination]:
    """All destinations, in the contract's order."""
    text = files("offtake.client").joinpath("destinations.json").read_text(encoding="utf-8")
    return tuple(_destination(one) for one in json.loads(text))


def by_word(word: str) -> Destination:
    """The destination of that name in commands."""
    return next(one for one in destinations() if one.word == word)


def by_spec_id(spec_id: str) -> Destination | None:
    """The destination with that connection spec; None for another server's own ones."""
    return next((one for one in destinations() if one.connection_spec_id == spec_id), None)


def distinct(fields: Iterable[Field]) -> Sequence[Field]:
    """The first field of each key."""
    return list({one.key: one for one in reversed(list(fields))}.values())[::-1]


def _by_key(fields: Iterable[Field], key: str) -> Field | None:
    return next((one for one in fields if one.key == key), None)


def _destination(one: Json) -> Destination:
    return Destination(
        one["word"],
        one["name"],
        one["connectionSpecId"],
        one["flowSpecId"],
        [AuthMethod(m["name"], m["word"], m["about"], _fields(m["fields"])) for m in one["authMethods"]],
        _fields(one["targetFields"]),
    )


def _fields(declared: list[dict[str, Any]]) -> Sequence[Field]:
    return [Field(**one) for one in declared]
