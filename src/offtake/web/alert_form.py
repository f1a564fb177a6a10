"""The form of an alert channel, from the settings of its kind (alerts/channels).

Its names: `name`, `s-<setting>` for each setting, and `forget` for stored secrets to remove.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_origin

from pydantic.fields import FieldInfo
from starlette.datastructures import FormData

from offtake.alerts.channels.base import ChannelKind
from offtake.contract import problems
from offtake.contract.bound_secrets import SecretNeededError
from offtake.contract.problems import Problem
from offtake.destinations.schema import MASK
from offtake.documents import Json
from offtake.web.form_body import text, texts
from offtake.web.forms import Field, sentence

PREFIX: Final = "s-"
FORGET: Final = "forget"
NOT_SHOWN: Final = "stored, not shown"
_STORED: Final = "A value is stored. Leave the field empty to keep it, unless the URL's server changes."
_LINES: Final = "One a line."
_AS_PAGES: Final = (problems.FORBIDDEN, problems.NOT_FOUND)


@dataclass(frozen=True)
class ChannelForm:
    """The form of a channel. `stored_secrets`: those that can be removed."""

    kind: ChannelKind
    name: str
    name_problem: str
    fields: tuple[Field, ...]
    summary: Sequence[tuple[str, str, str]] = ()
    stored_secrets: tuple[Field, ...] = ()


def show(
    kind: ChannelKind, form: FormData | None = None, stored: Json | None = None, problem: Problem | None = None
) -> ChannelForm:
    """The form: empty, of a stored channel, or as it was sent, without its secrets. Raises a problem that is not its.

    `stored`: name and settings of the stored channel, with masked secrets.
    """
    if problem is not None and problem.code in _AS_PAGES:
        raise problem
    refused = _by_field(problem)
    kept = stored["settings"] if stored else {}
    needed = isinstance(problem, SecretNeededError)
    declared = {info.alias or name: info for name, info in kind.model.model_fields.items()}
    fields = tuple(
        _field(
            kind,
            key,
            info,
            text(form, PREFIX + key) if form is not None else kept.get(key, ""),
            refused.get(PREFIX + key, ""),
            kept=kept.get(key) == MASK and not needed,
        )
        for key, info in declared.items()
    )
    labels = {"name": "Name"} | {one.name: one.label for one in fields}
    named = [(name if name in labels else "", labels.get(name, ""), message) for name, message in refused.items()]
    return ChannelForm(
        kind=kind,
        name=text(form, "name") if form is not None else (stored["name"] if stored else ""),
        name_problem=refused.get("name", ""),
        fields=fields,
        summary=[*named, *([("", "", str(problem))] if problem is not None and not refused else [])],
        stored_secrets=tuple(
            one for one in fields if kept.get(one.key) == MASK and not declared[one.key].is_required()
        ),
    )


def body(kind: ChannelKind, form: FormData) -> Json:
    """A new channel as `stored_channels.create` takes it; empty fields are absent."""
    sent = {key: _sent(info, form, key) for key, info in _declared(kind).items()}
    settings = {key: value for key, value in sent.items() if value}
    return {"name": text(form, "name"), "kind": kind.name, "settings": settings}


def change(kind: ChannelKind, form: FormData) -> Json:
    """The form as a merge patch: a secret with an empty field stays, unless it is to be forgotten."""
    secret, forgotten = kind.model.secrets(), texts(form, FORGET)
    settings: Json = {}
    for key, info in _declared(kind).items():
        value = _sent(info, form, key)
        if value or key not in secret:
            settings[key] = value or None
        elif key in forgotten:
            settings[key] = None
    return {"name": text(form, "name"), "settings": settings}


def pairs(kind: ChannelKind, settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """The stored settings as labels and values, without secrets."""
    return [
        (_label(key, info), NOT_SHOWN if settings[key] == MASK else _shown(settings[key]).replace("\n", ", "))
        for key, info in _declared(kind).items()
        if key in settings
    ]


def place_of(settings: Mapping[str, object]) -> str:
    """Where messages go, in one line; empty if that is a secret."""
    found = settings.get("url") or settings.get("to")
    return "" if found in (None, MASK) else _shown(found).replace("\n", ", ")


def _declared(kind: ChannelKind) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in kind.model.model_fields.items()}


def _field(kind: ChannelKind, key: str, info: FieldInfo, value: object, problem: str, *, kept: bool) -> Field:
    is_secret, is_list = key in kind.model.secrets(), _is_list(info)
    example = (info.examples or [""])[0]
    found = Field(
        name=PREFIX + key,
        key=key,
        label=_label(key, info),
        kind="secret" if is_secret else "area" if is_list else "text",
        help=f"{info.description or ''} {_LINES}" if is_list else info.description or "",
        example="" if is_secret else _shown(example),
        value="" if is_secret else _shown(value),
        problem=problem,
        required=info.is_required() and key not in kind.model.generated and not kept,
        kept=kept,
        secret=is_secret,
    )
    return replace(found, help=f"{found.help} {_STORED}") if kept else found


def _label(key: str, info: FieldInfo) -> str:
    return info.title or sentence(key)


def _is_list(info: FieldInfo) -> bool:
    return get_origin(info.annotation) is list


def _sent(info: FieldInfo, form: FormData, key: str) -> object:
    value = text(form, PREFIX + key)
    return [one.strip() for one in value.replace(",", "\n").split("\n") if one.strip()] if _is_list(info) else value


def _shown(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _by_field(problem: Problem | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in problem.fields if problem is not None else ():
        start, _, name = one.path.removeprefix("/").partition("/")
        key = PREFIX + name.partition("/")[0] if start == "settings" and name else start
        found.setdefault(key, one.message)
    return found
