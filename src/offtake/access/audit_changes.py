"""The change in an audit event as fields with their old and new values."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_BOOKKEEPING: Final = frozenset(
    f"{what}{who}" for what in ("created", "updated", "modified") for who in ("At", "By", "Client")
) | {
    "id",
    "recordType",
    "sandboxId",
    "sandboxName",
    "imsOrgId",
    "imsOrgID",
    "version",
    "etag",
    "eTag",
    "createdDate",
    "lastModifiedDate",
    "lastOperation",
    "inheritedAttributes",
    "fileDescription",
    "auth.params.authorizedDate",
    "connectionSpec.version",
    "flowSpec.version",
}
"""Fields that every change updates, that repeat other resources, or that an event shows in its own fields."""


@dataclass(frozen=True)
class FieldChange:
    """A changed field, with its path such as `auth.params.region`; None: the field was or is absent."""

    name: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> Iterator[FieldChange]:
    """Each changed field; null counts as absent. Secrets are masked in the log already."""
    old, new = (dict(_fields(one or {}, "")) for one in (before, after))
    for name in dict.fromkeys((*old, *new)):
        was, now = _text(old, name), _text(new, name)
        if was != now:
            yield FieldChange(name, was, now)


def _fields(document: Mapping[str, object], inside: str) -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if f"{inside}{name}" in _BOOKKEEPING:
            continue
        if isinstance(value, dict):
            yield from _fields(value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", value


def _text(values: Mapping[str, object], name: str) -> str | None:
    value = values.get(name)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
