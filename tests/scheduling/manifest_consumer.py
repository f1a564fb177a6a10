"""What a consumer must hold: the simplest model of a table and of what its deliveries add."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from tests.lake.test_any_history import History, act

KEEPS_BIRTHS = ("compact", "roll_back")
"""Actions whose new files hold rows that came earlier."""


@dataclass(frozen=True)
class State:
    """A snapshot: when it came, its rows, each with when it was added or rewritten, and the snapshots up to it."""

    number: int
    births: dict[int, int]
    chain: tuple[int, ...]


@dataclass
class Source:
    """The table, by snapshot. Time is counted in actions."""

    history: History
    now: int = 0
    births: dict[int, int] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    compactions: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.came(set(), bears=True)

    @property
    def current(self) -> int:
        return self.history.main[-1]

    def change(self, action: str, bits: int) -> None:
        """Do something to the table."""
        files, current = set(self.history.files), self.current
        act(self.history, action, bits)
        if action == "compact" and self.current != current:
            self.compactions.add(self.current)
        if action == "roll_back":
            self.births = dict(self.states[self.current].births)
        self.came(files, bears=action not in KEEPS_BIRTHS)

    def came(self, known: set[tuple[str, int]], *, bears: bool) -> None:
        """Look at the table after something was done to it; `known`: the files it had before."""
        self.now += 1
        if bears:
            born = {row for path in set(self.history.files) - known for row in self.history.files[path].rows}
            self.births |= dict.fromkeys(born, self.now)
        live = {row: self.births[row] for row in self.history.live()}
        self.states.setdefault(self.current, State(self.now, live, tuple(self.history.main)))

    def reaches(self, after: int, upto: int) -> bool:
        """Whether the table still knows every snapshot between them."""
        chain = self.states[upto].chain
        alive = {one.snapshot_id for one in self.history.table.metadata.snapshots}
        return after in chain and alive.issuperset(chain[chain.index(after) :])

    def compacted(self, after: int, upto: int) -> bool:
        """Whether files were compacted between them."""
        chain = self.states[upto].chain
        return not self.compactions.isdisjoint(chain[chain.index(after) + 1 :])


@dataclass(frozen=True)
class Planned:
    """What a run has planned, as the model sees it; `to` is None when it could not be.

    `after`: what the failed run had planned that this one continues from.
    """

    kind: Literal["full", "incremental"]
    start: int | None
    to: int | None
    after: "Planned | None" = None


@dataclass
class Consumer:
    """What the consumer holds since the last full export, and up to where it was brought."""

    source: Source
    position: int | None = None
    holds: Counter[int] = field(default_factory=Counter)

    def due(self, planned: Planned) -> Counter[int]:
        """What the run must deliver."""
        assert planned.to is not None
        if planned.after is not None:
            assert planned.after.to is not None
            rest = Planned("incremental", planned.after.to, planned.to)
            return self.due(planned.after) + (self.due(rest) if planned.to != planned.after.to else Counter())
        state = self.source.states[planned.to]
        if planned.kind == "full":
            return Counter(state.births.keys())
        assert planned.start is not None
        since = self.source.states[planned.start].number
        return Counter(row for row, born in state.births.items() if born > since)

    def deliver(self, planned: Planned, rows: Counter[int] | None) -> None:
        """A run has delivered these rows; None when it found that there are no files to deliver, and said nothing."""
        assert (rows or Counter()) == self.due(planned)
        if rows is not None:
            self.holds = rows if planned.kind == "full" else self.holds + rows
        self.position = planned.to
