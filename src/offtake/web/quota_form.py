"""The form of a sandbox's quotas: one field for each measure; an empty one means no limit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import FormData

from offtake.client import amounts
from offtake.errors import OfftakeError
from offtake.usage.quotas import MOST, QuotaView
from offtake.web.form_body import text
from offtake.web.forms import Field

LABELS: Final = {"rows": "Rows", "bytes": "Bytes", "files": "Files", "computeSeconds": "CPU seconds"}
_PREFIX: Final = "q-"
_WAS: Final = "was-"
_EXAMPLES: Final = {"rows": "5000000", "bytes": "500G", "files": "10000", "computeSeconds": "36000"}
_TOO_MUCH: Final = f"must be at most {MOST:,}"


@dataclass(frozen=True)
class QuotaForm:
    """What the form shows. `stored`: the limits when it was loaded, by measure, as texts. `stale`: others now."""

    stored: Mapping[str, str]
    entered: Mapping[str, str]
    problems: Mapping[str, str] = field(default_factory=dict)
    stale: Sequence[str] = ()

    @property
    def fields(self) -> list[Field]:
        """The fields, by measure."""
        return [
            Field(
                name=_PREFIX + key,
                key=key,
                label=label,
                kind="text",
                value=self.entered.get(key, ""),
                example=_EXAMPLES[key],
                problem=self.problems.get(key, ""),
            )
            for key, label in LABELS.items()
        ]

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """The fields that are not shown: what was stored when the form was loaded."""
        return [(_WAS + key, self.stored.get(key, "")) for key in LABELS]

    @property
    def summary(self) -> list[tuple[str, str, str]]:
        """The problems as (field, label, text) triples."""
        return [(_PREFIX + key, LABELS[key], message) for key, message in self.problems.items()]


def of_stored(views: Iterable[QuotaView]) -> QuotaForm:
    """The form of the stored quotas."""
    stored = {one.measure: amounts.describe(one.limit) for one in views}
    return QuotaForm(stored, stored)


def changes(sent: FormData, views: Iterable[QuotaView]) -> tuple[dict[str, int | None], QuotaForm]:
    """The limits to store, by measure (None: to be removed), and the form with its problems.

    A quota that another person changed since the form was loaded is stale, unless it has the entered limit already.
    """
    now = {one.measure: one.limit for one in views}
    wanted: dict[str, int | None] = {}
    problems: dict[str, str] = {}
    entered = {key: text(sent, _PREFIX + key) for key in LABELS}
    for key, value in entered.items():
        try:
            wanted[key] = amounts.parse(value) if value else None
        except OfftakeError as error:
            problems[key] = str(error)
        if (wanted.get(key) or 0) > MOST:
            problems[key] = _TOO_MUCH
    current = {key: amounts.describe(limit) for key, limit in now.items()}
    differ = [key for key in LABELS if text(sent, _WAS + key) != current.get(key, "")]
    stale = [key for key in differ if key in wanted and wanted[key] != now.get(key)]
    changed = {key: limit for key, limit in wanted.items() if limit != now.get(key)}
    others = [f"{LABELS[key]}: {current.get(key, 'none')}" for key in stale]
    return changed, QuotaForm(current, entered, problems, others)
