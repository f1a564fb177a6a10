"""Usage of a sandbox by month, dataset, destination and flow, limited to what the caller may see."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from sqlalchemy import BigInteger, ColumnElement, cast, func, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract import problems
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.documents import Json
from offtake.store.tables import Usage
from offtake.store.usage import month_of

Dimension = Literal["month", "dataset", "destination", "flow"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("month", "dataset", "destination", "flow")
DEFAULT: Final[tuple[Dimension, ...]] = ("dataset", "destination")
_COLUMNS: Final = {
    "dataset": (Usage.dataset_id, Usage.dataset_name),
    "destination": (Usage.connection_id, Usage.connection_name),
    "flow": (Usage.flow_id, Usage.flow_name),
}
_KEYS: Final = {"dataset": "dataset", "destination": "connection", "flow": "flow"}
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Amounts:
    """What was used. `cpu_ms`: CPU milliseconds of writing files, also those of failed runs."""

    rows: int = 0
    bytes: int = 0
    files: int = 0
    cpu_ms: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        """The sum."""
        return Amounts(
            self.rows + other.rows, self.bytes + other.bytes, self.files + other.files, self.cpu_ms + other.cpu_ms
        )

    def to_json(self) -> Json:
        """Render it for the API."""
        return {
            "recordCount": self.rows,
            "bytes": self.bytes,
            "fileCount": self.files,
            "computeSeconds": round(self.cpu_ms / 1000, 3),
        }


@dataclass(frozen=True)
class UsageLine:
    """The usage of one dataset, destination (base connection), flow or month, or of a combination.

    `names`: by dimension, the id and the name at the last run; they stay when the resource is deleted. An empty name
    or id was not known any more. `month`: None for all of the report's months together.
    """

    month: str | None
    names: dict[Dimension, tuple[str, str]]
    amounts: Amounts

    def to_json(self) -> Json:
        """Render it for the API."""
        named = [(_KEYS[one], pair) for one, pair in self.names.items()]
        ids: Json = {} if self.month is None else {"month": self.month}
        for key, (id_, name) in named:
            ids |= {f"{key}Id": id_, f"{key}Name": name}
        return ids | self.amounts.to_json()


@dataclass(frozen=True)
class UsageReport:
    """The lines with the most bytes first, or by month; and their total. `month`: None for all months."""

    month: str | None
    by: Sequence[Dimension]
    lines: Sequence[UsageLine]

    @property
    def total(self) -> Amounts:
        """What the caller may see of the sandbox's usage."""
        return sum((one.amounts for one in self.lines), Amounts())


def report(
    session: Session, caller: Caller, now_ms: int, month: str | None = None, by: Collection[Dimension] = DEFAULT
) -> UsageReport:
    """The sandbox's usage by these dimensions, in one month: by default the current one, or by month, all of them.

    Usage of datasets and flows with a label that the caller lacks, also of deleted ones, is in no line and no total.
    """
    caller.require(VIEW_DESTINATIONS)
    chosen = tuple(one for one in DIMENSIONS if one in by)
    month = month or (None if "month" in chosen else month_of(now_ms))
    shown = [one for one in chosen if one != "month"]
    pairs = [_COLUMNS[one] for one in shown]
    sums = [cast(func.sum(column), BigInteger) for column in (Usage.rows, Usage.bytes, Usage.files, Usage.cpu_ms)]
    ids = [id_ for id_, _ in pairs]
    query = select(Usage.month, *ids, *(func.max(name) for _, name in pairs), *sums)
    query = query.where(Usage.sandbox_id == caller.sandbox_id, *_visible(caller))
    if month is not None:
        query = query.where(Usage.month == month)
    found = []
    for row in session.execute(query.group_by(Usage.month, *ids).order_by(Usage.month)):
        keys, names, amounts = row[1 : 1 + len(ids)], row[1 + len(ids) : 1 + 2 * len(ids)], row[1 + 2 * len(ids) :]
        named: dict[Dimension, tuple[str, str]] = dict(zip(shown, zip(keys, names, strict=True), strict=True))
        found.append(UsageLine(row[0] if "month" in chosen else None, named, Amounts(*map(int, amounts))))
    return UsageReport(month, chosen, _sorted(_combine(found)))


def parse(month: str | None, by: str | None) -> tuple[str | None, tuple[Dimension, ...]]:
    """The parameters as sent; empty ones count as absent. Raises 1452."""
    if month and not _MONTH.fullmatch(month):
        raise problems.of_field("/month", "must be a month such as 2026-11")
    named = [one.strip().lower() for one in (by or "").split(",") if one.strip()]
    unknown = [one for one in named if one not in DIMENSIONS]
    if unknown:
        raise problems.of_field("/by", f"{unknown[0][:50]!r} is not one of {', '.join(DIMENSIONS)}")
    return month or None, tuple(one for one in DIMENSIONS if one in named) or DEFAULT


def _visible(caller: Caller) -> Iterable[ColumnElement[bool]]:
    return labels.visible_once(Usage.dataset_id, caller), labels.visible_once(Usage.flow_id, caller)


def _combine(lines: Iterable[UsageLine]) -> list[UsageLine]:
    """Add up the months of lines that are the same otherwise; the latest name counts."""
    found: dict[tuple[str | None, ...], UsageLine] = {}
    for line in lines:
        key = (line.month, *(id_ for id_, _ in line.names.values()))
        earlier = found.get(key)
        found[key] = line if earlier is None else replace(line, amounts=earlier.amounts + line.amounts)
    return list(found.values())


def _sorted(lines: Iterable[UsageLine]) -> list[UsageLine]:
    by_size = sorted(lines, key=lambda one: (-one.amounts.bytes, -one.amounts.cpu_ms, *sorted(one.names.values())))
    return sorted(by_size, key=lambda one: one.month or "", reverse=True)
