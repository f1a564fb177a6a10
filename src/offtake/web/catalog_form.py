"""The form of a catalog of others, from its type's declaration (lake/catalogs/declarations).

Its names: `name`, `p-<property>` for each property, and `forget` for stored secrets to remove.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.datastructures import FormData

from offtake.contract import problems
from offtake.contract.bound_secrets import SecretNeededError
from offtake.contract.problems import Problem
from offtake.destinations.schema import MASK
from offtake.documents import Json
from offtake.lake.catalogs.declarations import CatalogType, Property
from offtake.web.form_body import text, texts
from offtake.web.forms import Field

PREFIX: Final = "p-"
FORGET: Final = "forget"
_STORED: Final = "A value is stored. Leave the field empty to keep it, unless a URL, region or account changes."
_STORES: Final = (
    ("s3.", "Amazon S3 and compatible"),
    ("gcs.", "Google Cloud Storage"),
    ("adls.", "Azure"),
    ("client.", "One AWS key for catalog and files"),
)
_WORDS: Final[Mapping[str, str]] = {
    "uri": "URL",
    "id": "ID",
    "oauth2": "OAuth 2",
    "sas": "SAS",
    "glue": "Glue",
    "s3": "S3",
}
_SPLIT: Final = re.compile(r"[.-]")
_AS_PAGES: Final = (problems.FORBIDDEN, problems.NOT_FOUND)


@dataclass(frozen=True)
class Group:
    """Fields that belong together. `is_open`: one of them has a value or a problem."""

    title: str
    fields: tuple[Field, ...]

    @property
    def is_open(self) -> bool:
        """Whether the group must not be folded away."""
        return any(one.value or one.problem or one.kept for one in self.fields)


@dataclass(frozen=True)
class CatalogForm:
    """The form of a catalog. `main`: its own properties; `stores`: those of the stores with its tables' files."""

    kind: CatalogType
    name: str
    name_problem: str
    main: tuple[Field, ...]
    stores: tuple[Group, ...]
    summary: Sequence[tuple[str, str, str]] = ()
    stored_secrets: tuple[Field, ...] = ()


def show(
    kind: CatalogType, form: FormData | None = None, stored: Json | None = None, problem: Problem | None = None
) -> CatalogForm:
    """The form: empty, of a stored catalog, or as it was sent, without its secrets. Raises a problem that is not its.

    `stored`: name and properties of the stored catalog, with masked secrets.
    """
    if problem is not None and problem.code in _AS_PAGES:
        raise problem
    refused = _by_field(problem)
    kept = stored["properties"] if stored else {}
    values = {one.name: text(form, PREFIX + one.name) for one in kind.properties} if form is not None else kept
    needed = isinstance(problem, SecretNeededError)
    fields = [
        _field(one, values.get(one.name, ""), refused.get(PREFIX + one.name, ""), kept=one.name in kept and not needed)
        for one in kind.properties
        if not one.operators
    ]
    groups = {title: tuple(one for one in fields if one.key.startswith(start)) for start, title in _STORES}
    in_groups = {one.key for group in groups.values() for one in group}
    labels = {"name": "Name"} | {one.name: one.label for one in fields}
    named = [(name, labels.get(name, ""), message) for name, message in refused.items()]
    return CatalogForm(
        kind=kind,
        name=text(form, "name") if form is not None else (stored["name"] if stored else ""),
        name_problem=refused.get("name", ""),
        main=tuple(one for one in fields if one.key not in in_groups),
        stores=tuple(Group(title, found) for title, found in groups.items() if found),
        summary=[*named, *([("", "", str(problem))] if problem is not None and not refused else [])],
        stored_secrets=tuple(one for one in fields if one.secret and one.key in kept),
    )


def body(kind: CatalogType, form: FormData, stored: Json | None = None) -> Json:
    """The catalog as `catalog.lake_catalogs` takes it; stored secrets stay unless they are sent or to be forgotten."""
    kept = stored["properties"] if stored else {}
    forgotten = texts(form, FORGET)
    found: dict[str, str] = {}
    for one in kind.properties:
        value = text(form, PREFIX + one.name)
        if value:
            found[one.name] = value
        elif one.secret and one.name in kept and one.name not in forgotten:
            found[one.name] = MASK
        elif one.operators and one.name in kept:
            found[one.name] = kept[one.name]
    # Properties without a field, such as a SAS token of one account.
    others = {name: value for name, value in kept.items() if all(name != one.name for one in kind.properties)}
    return {"name": text(form, "name"), "type": kind.name, "properties": others | found}


def pairs(kind: CatalogType, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """The stored properties as labels and values, without secrets."""
    labels = {one.name: _label(one.name) for one in kind.properties}
    return [
        (labels.get(name, name), "stored, not shown" if kind.is_secret(name) else value)
        for name, value in properties.items()
    ]


def _field(one: Property, value: str, problem: str, *, kept: bool) -> Field:
    options = (("", "Default"), *((value, value.capitalize()) for value in one.values)) if one.values else ()
    found = Field(
        name=PREFIX + one.name,
        key=one.name,
        label=_label(one.name),
        kind="choice" if options else "secret" if one.secret else "text",
        help=one.description,
        example=one.example,
        value="" if one.secret else value,
        problem=problem,
        required=one.required,
        options=options,
        kept=kept and one.secret,
        secret=one.secret,
    )
    if one.secret and "key" in one.name and "account-key" in one.name and one.name.startswith("gcs."):
        found = replace(found, kind="area")
    return replace(found, help=f"{found.help} {_STORED}") if found.kept else found


def _label(name: str) -> str:
    words = [one for one in _SPLIT.split(name) if one]
    if f"{words[0]}." in {start for start, _ in _STORES}:
        words = words[1:]
    said = " ".join(_WORDS.get(one, one) for one in words)
    return said[0].upper() + said[1:]


def _by_field(problem: Problem | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in problem.fields if problem is not None else ():
        start, _, name = one.path.removeprefix("/").partition("/")
        found.setdefault(PREFIX + name if start == "properties" else start, one.message)
    return found
