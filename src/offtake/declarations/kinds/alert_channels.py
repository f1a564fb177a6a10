"""Alert channels: receivers of alerts (an extension)."""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from offtake.alerts.channels.base import ChannelKind, origin_of
from offtake.alerts.channels.registry import KINDS
from offtake.client.alerts import CHANNEL
from offtake.declarations import secrets
from offtake.declarations.comparing import changed_secrets
from offtake.declarations.context import Context
from offtake.declarations.destinations import MASK
from offtake.declarations.kinds.connections import variable_for
from offtake.declarations.models import AlertChannelDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import Change, FieldChange, compare
from offtake.declarations.problems import nearest
from offtake.declarations.secrets import SHOWN
from offtake.declarations.yaml_text import Path
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.invalid_values import problem_of

_URL: Final = "url"


@dataclass(frozen=True)
class _Wanted:
    """A validated document with its references resolved. `hidden`: settings that came by reference."""

    declared: Declared
    document: AlertChannelDocument
    kind: ChannelKind
    settings: Json
    hidden: frozenset[str]
    existing: Json | None

    @property
    def stored(self) -> Json:
        """The settings on the server, with secrets masked."""
        return self.existing["settings"] if self.existing else {}

    @property
    def kept(self) -> list[str]:
        """The stored secrets that are not declared."""
        return [key for key, value in self.stored.items() if value == MASK and key not in self.settings]

    def shown(self, key: str, value: object) -> object:
        """The value for the plan."""
        is_secret = key in self.hidden or key in self.kind.model.secrets()
        return SHOWN if is_secret and value is not None else value


def plan_all(context: Context) -> list[Change]:
    """The changes of all channels; one request compares their secrets."""
    count = len(context.problems)
    wanted = [
        _read(context, declared, context.existing.get(index)) for index, declared in context.of_kind("alert-channel")
    ]
    if len(context.problems) > count:
        return []
    known = {one.existing["id"]: _declared_secrets(one) for one in wanted if one.existing is not None}
    changed = changed_secrets(context, "alert-channel", known)
    return [_plan(context, one, changed.get(one.existing["id"], set()) if one.existing else set()) for one in wanted]


def export(entity: Json) -> Json:
    """The document of a channel; its secrets are references to be filled in."""
    settings = {
        key: secrets.ENVIRONMENT + variable_for(entity["name"], key) if value == MASK else value
        for key, value in entity["settings"].items()
    }
    return {"kind": "alert-channel", "name": entity["name"], "type": entity["kind"], "settings": settings}


def delete(context: Context, channel_id: str) -> None:
    """Delete a channel with its messages. Raises `ServerError` while rules use it."""
    context.server.delete(f"{CHANNEL.path}/{channel_id}")


def _read(context: Context, declared: Declared, existing: Json | None) -> _Wanted:
    document = declared.document
    assert isinstance(document, AlertChannelDocument)  # noqa: S101 - of this kind
    kind = KINDS[document.type]
    settings, hidden = dict[str, Any](), set[str]()
    for key, value in document.settings.items():
        with context.collecting(declared, ("settings", key)):
            settings[key] = _resolve(context, declared, kind, key, value)
            if secrets.is_reference(value):
                hidden.add(key)
    wanted = _Wanted(declared, document, kind, settings, frozenset(hidden), existing)
    if existing is not None and existing["kind"] != document.type:
        why = f"cannot be changed from {existing['kind']}: declare the channel under another name"
        context.problems.append(declared.problem(("type",), why))
    elif settings.keys() == document.settings.keys():
        _check(context, wanted)
    return wanted


def _resolve(context: Context, declared: Declared, kind: ChannelKind, key: str, value: str | list[str]) -> Any:  # noqa: ANN401 - as sent
    """The setting as it is sent. Raises `OfftakeError`."""
    known = [field.alias or name for name, field in kind.model.model_fields.items()]
    if key not in known:
        raise OfftakeError(f"is unknown; {nearest(key, known)}")
    path: Path = ("settings", key)
    if isinstance(value, list):
        return [context.reference(declared, one, path) if secrets.is_reference(one) else one for one in value]
    if secrets.is_reference(value):
        return context.reference(declared, value, path)
    if key in kind.model.secrets() and not context.options.allow_inline_secrets:
        raise OfftakeError("is a secret; give env:NAME, file:PATH or prompt:, or use --allow-inline-secrets")
    return value


def _check(context: Context, one: _Wanted) -> None:
    """Validate the settings. Stored secrets need not be declared again, as long as the URL's server stays."""
    try:
        one.kind.model.model_validate(one.settings)
    except ValidationError as error:
        for problem in map(problem_of, error.errors()):
            path = tuple(problem.path.strip("/").split("/"))
            if problem.missing and path[0] in one.kept:
                continue
            message = problem.message
            if problem.missing and path[0] in one.kind.model.generated:
                message = "is required: a generated one would be shown nowhere; give env:NAME, file:PATH or prompt:"
            context.problems.append(one.declared.problem(("settings", *path), message))
    if one.kept and _origin(one.settings) not in (None, _origin(one.stored)):
        why = "must be given: url names another server, and a stored secret is bound to its server"
        context.problems += [one.declared.problem(("settings", key), why) for key in one.kept]


def _origin(settings: Json) -> str | None:
    """The server that the URL names; None for a secret URL, and for one that is not valid."""
    url = settings.get(_URL)
    try:
        return origin_of(url) if isinstance(url, str) and url != MASK else None
    except ValueError:
        return None


def _declared_secrets(one: _Wanted) -> dict[str, str]:
    """The declared secrets that the server has values of."""
    names = [key for key in one.settings if key in one.kind.model.secrets() and one.stored.get(key) == MASK]
    return {key: one.settings[key] for key in names}


def _plan(context: Context, one: _Wanted, changed: set[str]) -> Change:
    name = one.document.name
    if one.existing is None:
        fields = [FieldChange("type", None, one.document.type)]
        fields += [FieldChange(f"settings.{key}", None, one.shown(key, value)) for key, value in one.settings.items()]
        return Change("alert-channel", name, "create", fields=fields, step=lambda: _create(context, one))
    fields = compare([("name", one.existing["name"], name)])
    for key, value in one.settings.items():
        old = one.stored.get(key)
        if key in changed or old not in (value, MASK):
            fields.append(FieldChange(f"settings.{key}", one.shown(key, old), one.shown(key, value)))
    if not fields:
        return Change("alert-channel", name, "nothing", one.existing["id"])
    return Change(
        "alert-channel", name, "change", one.existing["id"], fields, step=lambda: _change(context, one, fields)
    )


def _create(context: Context, one: _Wanted) -> str:
    body = {"name": one.document.name, "kind": one.document.type, "settings": one.settings}
    return str(context.server.post(CHANNEL.path, body)["id"])


def _change(context: Context, one: _Wanted, fields: list[FieldChange]) -> str:
    """Change name and settings; secrets that are not declared stay."""
    assert one.existing is not None  # noqa: S101 - it is changed
    names = {found.field for found in fields}
    body: Json = {"name": one.document.name} if "name" in names else {}
    body |= {"settings": one.settings} if names - {"name"} else {}
    context.server.merge(f"{CHANNEL.path}/{one.existing['id']}", body, one.existing["etag"])
    return str(one.existing["id"])
