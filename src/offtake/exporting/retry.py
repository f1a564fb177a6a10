"""Trying again after transient failures: how long to wait, until when, and where.

A short wait is spent in place. For a longer one the run goes back to the queue, so that it holds no worker, process,
connection or lease meanwhile.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from offtake.clock import Clock
from offtake.errors import EXPORT_FAILED, DeliveryError, OfftakeError
from offtake.exporting.cancellation import CancellationToken, sleep

Result = TypeVar("Result")

_IN_PLACE_SECONDS: Final = 3.0
"""Of waits, in all, that a run spends on its worker each time it is claimed."""
_MOST_STEPS: Final = 60


@dataclass(frozen=True)
class Growth:
    """How waits grow: each is so many times the one before, up to so many seconds."""

    factor: float
    longest: float


USUAL: Final = Growth(2.0, 300.0)
PROBES: Final = Growth(1.3, 60.0)
"""Of questions to a destination that does not answer: they cost little, and one run asks for all that go there."""


@dataclass(frozen=True)
class RetryPolicy:
    """The first wait in seconds; further ones grow.

    `attempts` of one thing and `retries` of a whole run bound how often is tried again; None for no bound but the
    end of the run's window.
    """

    wait: float = 1.0
    attempts: int | None = None
    retries: int | None = None


class DeferredError(OfftakeError):
    """The run is to go back to the queue for so many seconds; `error` is what it waits for."""

    def __init__(self, error: DeliveryError, seconds: float) -> None:
        self.error = error
        self.seconds = seconds
        super().__init__(str(error))


def exhausted_error(cause: str) -> DeliveryError:
    """The transient error of work for which this machine lacks descriptors, threads or memory for now."""
    return DeliveryError(
        EXPORT_FAILED,
        f"The server has run out of something: {cause}.",
        "Raise the server's limits of open files, processes or memory; the export is tried again.",
        transient=True,
    )


def backoff(wait: float, failures: int, growth: Growth = USUAL, draw: random.Random | None = None) -> float:
    """The seconds to wait after so many failures: between half and all of what is due.

    The jitter keeps those that failed together from coming back together.
    """
    due = min(growth.longest, wait * growth.factor ** min(failures - 1, _MOST_STEPS))
    return due * (draw or random).uniform(0.5, 1)


def probe_backoff(patience: RetryPolicy) -> Callable[[int], float]:
    """The seconds to leave a destination alone that did not answer, by the number of failures."""
    return lambda failures: backoff(patience.wait, failures, PROBES)


@dataclass
class RetryBudget:
    """What is left of a run's patience.

    `window`: gives when a wait that begins at an instant ends, None for never. `waits_since_ms`: when the present wait
    began; None when nothing has failed since the last progress. `known`: by what failed, how often it did and since
    when, as earlier workers of the run have stored it.
    """

    patience: RetryPolicy
    clock: Clock
    window: Callable[[int], int] | None = None
    waits_since_ms: int | None = None
    known: Mapping[str, Sequence[int]] = field(default_factory=dict)
    in_place: float = _IN_PLACE_SECONDS
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._failures = {what: (count, since) for what, (count, since) in self.known.items()}

    def to_json(self) -> dict[str, list[int]]:
        """For `known` of the next worker."""
        return {what: [count, since] for what, (count, since) in self._failures.items()}

    @property
    def ends_ms(self) -> int | None:
        """When the present wait ends, or one that begins now; None for never."""
        now = self.clock.now_ms()
        # A wait that lies ahead was written down before the clock was set back.
        began = now if self.waits_since_ms is None else min(self.waits_since_ms, now)
        return None if self.window is None else self.window(began)

    def note_progress(self) -> None:
        """The present wait is over: the next failure begins another one."""
        self.waits_since_ms = None

    def next_delay(self, what: str, error: DeliveryError) -> float:
        """The seconds to wait until `what` is tried again; raises `DeliveryError` when it is not to be.

        The last try comes when the window ends. A server that names a wait itself gets at least that; one that names
        a wait beyond the window's end ends the run.
        """
        if not error.transient:
            raise error
        now = self.clock.now_ms()
        count, since = self._count(what if error.window is None else f"{what} ({error.window:.0f} s)", now)
        if self._is_spent(count):
            raise error
        ends = self._end(error, since)
        self.waits_since_ms = min(self.waits_since_ms or now, now)
        if ends is not None and now >= ends:
            raise error
        asked = error.retry_after or 0.0
        left = math.inf if ends is None else (ends - now) / 1000
        if asked > left:
            raise _beyond(error, asked)
        growth = PROBES if error.unreachable else USUAL
        return min(left, asked + backoff(self.patience.wait, count, growth, self._random))

    def spend(self, seconds: float, errors: Sequence[DeliveryError], cancellation: CancellationToken) -> None:
        """Wait in place, or raise `DeferredError` for the longest-lasting reason; `CancelledError` when asked to stop.

        A destination that does not answer is never waited for in place: its other runs shall not have to find out.
        """
        outage = next((error for error in errors if error.unreachable), None)
        if outage is not None or seconds > self.in_place:
            raise DeferredError(outage or errors[-1], seconds)
        self.in_place -= seconds
        sleep(seconds, cancellation)

    def _count(self, what: str, now: int) -> tuple[int, int]:
        count, since = self._failures.get(what, (0, now))
        # A first failure that lies ahead was written down before the clock was set back.
        self._failures[what] = (count + 1, min(since, now))
        return self._failures[what]

    def _is_spent(self, count: int) -> bool:
        attempts, retries = self.patience.attempts, self.patience.retries
        total = sum(failed for failed, _ in self._failures.values())
        return (attempts is not None and count >= attempts) or (retries is not None and total > retries)

    def _end(self, error: DeliveryError, since: int) -> int | None:
        own = None if error.window is None else since + round(error.window * 1000)
        return min((one for one in (own, self.ends_ms) if one is not None), default=None)


def retry(act: Callable[[], Result], what: str, budget: RetryBudget, cancellation: CancellationToken) -> Result:
    """What `act` gives, tried again after transient failures as far as the budget goes.

    Raises the last `DeliveryError`, one that is not transient at once, `DeferredError` when the run is to wait in the
    queue, and `CancelledError` when asked to stop.
    """
    while True:
        try:
            return act()
        except DeliveryError as error:
            budget.spend(budget.next_delay(what, error), [error], cancellation)


def _beyond(error: DeliveryError, asked: float) -> DeliveryError:
    long = f"{asked:.0f} seconds" if asked < 1e9 else "a wait without end"  # noqa: PLR2004 - thirty years
    return DeliveryError(
        error.kind,
        f"{error.message} It asks to be left alone for {long}, which is longer than this run may wait.",
        error.remedy,
        unreachable=error.unreachable,
        transient=False,
        retry_after=error.retry_after,
    )
