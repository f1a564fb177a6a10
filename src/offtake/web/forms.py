"""Forms from declarations: fields of a model of `destinations`, the params that a form sent, and problems by field.

A field's name in a form is a prefix and the param's key in the contract, such as `a0-s3AccessKey`.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from starlette.datastructures import FormData

from offtake.destinations import schema
from offtake.destinations.parameters import Params, TargetParams
from offtake.documents import Json
from offtake.errors import FieldProblem
from offtake.web.form_body import text

Kind = Literal["text", "secret", "choice", "flag", "number", "area"]
Option = tuple[str, str]
"""A value, and its label."""

_ABBREVIATIONS: Final = {"url": "URL", "id": "id", "kms": "KMS", "arn": "ARN", "ssh": "SSH", "uuid": "UUID"}
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")
_LETTERS: Final = re.compile(r"[^a-z0-9]+")
_DEFAULT_FLAG: Final = re.compile(r" Default: (?:true|false)\.$")
_ARMOR: Final = "-----BEGIN "
_PATTERN: Final = "must match the pattern"
_EMPTY: Final = "must not be empty"
_KEPT: Final = "A value is stored. Leave the field empty to keep it, unless the server or the user changes."
_PASTED: Final = "Paste the file's text: it is encoded for you."
_UNSET: Final = "Default"
_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "false": False}


@dataclass(frozen=True)
class Field:
    """A field of a form, for the macro `generated` of `ui/form.html`.

    `key`: of the param. `value`: a text; for a flag, whether it is set; always empty for a secret. `kept`: a secret is
    stored, and stays when the field is empty; false if its problem is that it must be entered again. `advanced`: shown
    last, folded. `extension`: not in the contract. `changed`: the value differs from the default.
    """

    name: str
    key: str
    label: str
    kind: Kind
    help: str = ""
    example: str = ""
    value: str | bool = ""
    problem: str = ""
    required: bool = False
    options: tuple[Option, ...] = ()
    kept: bool = False
    secret: bool = False
    advanced: bool = False
    extension: bool = False
    changed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether an advanced field must not be folded away: it differs from its default, or has a problem."""
        return bool(self.problem or self.changed)

    @property
    def words(self) -> str:
        """The value as pages show it: the label of a choice, or Yes and No."""
        if isinstance(self.value, bool):
            return "Yes" if self.value else "No"
        return dict(self.options).get(self.value, self.value) if self.value else ""


def fields(
    model: type[Params],
    prefix: str = "",
    values: Mapping[str, object] | None = None,
    problems: Mapping[str, str] | None = None,
    keys: Iterable[str] | None = None,
) -> tuple[Field, ...]:
    """The fields of a model, required ones first.

    `values`: by key, as `sent` or `schema.redact` return them; absent keys show the model's default. `problems`: by the
    field's name. `keys`: only these, in this order.
    """
    given, refused = values or {}, problems or {}
    declared = {info.alias or name: (name, info) for name, info in model.model_fields.items()}
    shown = [key for key in declared if key not in schema.NOT_PUBLISHED]
    ordered = keys if keys is not None else sorted(shown, key=lambda key: not declared[key][1].is_required())
    return tuple(
        _field(model, *declared[key], prefix, given.get(key, _DEFAULT), refused.get(f"{prefix}{key}", ""))
        for key in ordered
    )


def parse(model: type[Params], form: FormData, prefix: str = "") -> Json:
    """The params that a form sent, by key, as the API takes them; empty fields are absent.

    Nothing is validated here. A key or certificate that was pasted as text is encoded as Base64 where the API wants it.
    """
    found: Json = {}
    for name, info in model.model_fields.items():
        key = info.alias or name
        value = _sent(info, form, f"{prefix}{key}")
        if value is not None:
            found[key] = value
    return found


def sent(model: type[Params], form: FormData, prefix: str = "") -> dict[str, object]:
    """What a form sent, by key, to show the form again; without its secrets."""
    found: dict[str, object] = {}
    for name, info in model.model_fields.items():
        key, kind = info.alias or name, _kind(info)
        if not _is_secret(info):
            found[key] = f"{prefix}{key}" in form if kind == "flag" else text(form, f"{prefix}{key}")
    return found


def problems_by_name(
    problems: Iterable[FieldProblem], places: Mapping[str, str], shown: Iterable[Field] = ()
) -> dict[str, str]:
    """Problems by the names of form fields; the first one of each field.

    `places`: for each path of the API, the form field's name, or, for a path that ends in `/`, the prefix of the names
    of the fields below it. A problem of no field has the name "". `shown`: fields whose example makes a message
    plainer.
    """
    examples = {one.name: one.example for one in shown}
    found: dict[str, str] = {}
    for problem in problems:
        name = _name_of(problem.path, places)
        found.setdefault(name, _plain(problem.message, examples.get(name, "")))
    return found


def summary(
    problems: Mapping[str, str], labels: Mapping[str, str], *, inline: bool = False
) -> list[tuple[str, str, str]]:
    """Problems as the macro `summary` takes them: (name, label, text) triples. `labels`: by the field's name.

    `inline`: the text of a field's problem is below the field only.
    """
    return [
        (name if name in labels else "", labels.get(name, name), "" if inline and name in labels else message)
        for name, message in problems.items()
    ]


def labels_of(*shown: Field) -> dict[str, str]:
    """The labels of fields by name, for `summary`."""
    return {one.name: one.label for one in shown}


def in_words(model: type[Params], key: str, value: object) -> str:
    """A stored value as pages show it, under the name that its form uses; empty for None."""
    return next((one.words for one in fields(model, values={key: value}, keys=[key])), "")


def files_in_words(params: Mapping[str, object]) -> str:
    """The files of a target connection in one line: `Parquet, gzip, with a manifest file`."""
    kind, compression = (in_words(TargetParams, key, params.get(key)) for key in ("datasetFileType", "compression"))
    packed = "not compressed" if params.get("compression") == "NONE" else compression
    manifest = "with a manifest file" if params.get("includeFileManifest") else ""
    return ", ".join(one for one in (kind, packed, manifest) if one)


def armored(sent_text: str) -> str:
    """Encode an armored key (`-----BEGIN …`) as Base64; any other text is returned unchanged."""
    return base64.b64encode(f"{sent_text}\n".encode()).decode() if sent_text.startswith(_ARMOR) else sent_text


def sentence(key: str) -> str:
    """A label from a key: `endpointUrl` becomes `Endpoint URL`."""
    words = [_ABBREVIATIONS.get(word.lower(), word.lower()) for word in _WORD.findall(key)]
    label = " ".join(words)
    return label[:1].upper() + label[1:]


_DEFAULT: Final = object()


def _field(model: type[Params], name: str, info: FieldInfo, prefix: str, value: object, problem: str) -> Field:
    key, kind, is_secret = info.alias or name, _kind(info), _is_secret(info)
    if value is _DEFAULT:
        value = None if info.is_required() else info.default
    label = info.title or sentence(key)
    is_stored = is_secret and value == schema.MASK
    kept = is_stored and not problem
    described = _help(model.form_help.get(name) or _plain_default(info), label)
    if kind == "area":
        described = f"{described} {_PASTED}".strip()
    return Field(
        name=f"{prefix}{key}",
        key=key,
        label=label,
        kind=kind,
        help=f"{described} {_KEPT}".strip() if kept else described,
        example="" if is_secret or kind in ("flag", "choice") else _example(info),
        value="" if is_secret else _shown(kind, value),
        problem=problem,
        required=(info.is_required() and not kept) or (is_stored and not kept),
        options=_options(info, model),
        kept=kept,
        secret=is_secret,
        advanced=name in model.advanced,
        extension=schema.is_extension(info),
        changed=_shown(kind, value) not in ("", _shown(kind, None if info.is_required() else info.default)),
    )


def _kind(info: FieldInfo) -> Kind:
    kind = schema.plain_type(info.annotation)
    if _extra(info).get("contentEncoding") == "base64":
        return "area"
    if kind is SecretStr:
        return "secret"
    if get_origin(kind) is Literal or _values(info) or (kind is bool and info.default is None):
        return "choice"
    return "flag" if kind is bool else "number" if kind is int else "text"


def _is_secret(info: FieldInfo) -> bool:
    return schema.plain_type(info.annotation) is SecretStr


def _extra(info: FieldInfo) -> Mapping[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _values(info: FieldInfo) -> tuple[str, ...]:
    kind = schema.plain_type(info.annotation)
    listed = get_args(kind) if get_origin(kind) is Literal else _extra(info).get("enum", ())
    return tuple(map(str, listed))


def _options(info: FieldInfo, model: type[Params]) -> tuple[Option, ...]:
    if _kind(info) != "choice":
        return ()
    values = [(one, model.choice_labels.get(one, one)) for one in _values(info)] or [("true", "Yes"), ("false", "No")]
    has_default = not info.is_required() and info.default is not None
    return tuple(values if has_default else [("", "Choose one" if info.is_required() else _UNSET), *values])


def _shown(kind: Kind, value: object) -> str | bool:
    if kind == "flag":
        return value is True or value == "true"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _sent(info: FieldInfo, form: FormData, name: str) -> object:
    """The value of a field as the API takes it; None when the field is empty, or a flag has its default."""
    kind = _kind(info)
    if kind == "flag":
        is_set = name in form
        return None if is_set == info.default else is_set
    value = form.get(name, "")
    if not isinstance(value, str) or not value.strip():
        return None
    if kind == "secret":
        return value  # a password may start or end with a space
    value = value.strip()
    if kind == "area":
        return armored(value.replace("\r\n", "\n"))
    return _BOOLEANS.get(value, value) if schema.plain_type(info.annotation) is bool else value


def _example(info: FieldInfo) -> str:
    """The first example, unless it is the default."""
    examples = [str(one) for one in info.examples or () if info.is_required() or one != info.default]
    return examples[0] if examples else ""


def _help(description: str, label: str) -> str:
    """The description, unless it only repeats the label."""
    return "" if _LETTERS.sub("", description.lower()) == _LETTERS.sub("", label.lower()) else description


def _plain_default(info: FieldInfo) -> str:
    """The description without `Default: false.`: the box shows it."""
    description = info.description or ""
    return _DEFAULT_FLAG.sub("", description) if _kind(info) == "flag" else description


def _name_of(path: str, places: Mapping[str, str]) -> str:
    if path in places:
        return places[path]
    for place, prefix in places.items():
        if place.endswith("/") and path.startswith(place):
            return prefix + path.removeprefix(place).partition("/")[0]
    return ""


def _plain(message: str, example: str) -> str:
    if message == _EMPTY:
        return "is required"
    if message.startswith(_PATTERN):
        return f"is not valid; an example: {example}" if example else "is not valid"
    return message
