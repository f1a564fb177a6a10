"""Retries after transient failures: how long to wait, until when, and where.

A short wait is spent on the worker. For a longer one the run returns to the queue, so that it holds no worker, process,
connection or lease while it waits.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from offtake.clock import Clock
from offtake.documents import Retries
from offtake.errors import EXPORT_FAILED, DeliveryError, OfftakeError
from offtake.exporting.cancellation import CancellationToken, sleep
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import RETRIES

Result = TypeVar("Result")

_IN_PLACE_SECONDS: Final = 3.0
"""The most seconds in total that a run waits on its worker, for each time it is claimed."""
_MOST_STEPS: Final = 60


@dataclass(frozen=True)
class Growth:
    """Exponential growth of waits: each is `factor` times the one before, up to `longest` seconds."""

    factor: float
    longest: float


DEFAULT_GROWTH: Final = Growth(2.0, 300.0)
PROBES: Final = Growth(1.3, 60.0)
"""For probes of a destination that does not answer: they are cheap, and one run probes for all."""


@dataclass(frozen=True)
class RetryPolicy:
    """`wait`: the first wait in seconds; later waits grow.

    `attempts` limits the attempts of one step, `retries` the retries of the whole run; with None, only the end of the
    run's retry window limits them.
    """

    wait: float = 1.0
    attempts: int | None = None
    retries: int | None = None


class DeferredError(OfftakeError):
    """The run must return to the queue for `seconds`; `error` is the reason."""

    def __init__(self, error: DeliveryError, seconds: float) -> None:
        self.error = error
        self.seconds = seconds
        super().__init__(str(error))


def exhausted_error(cause: str) -> DeliveryError:
    """The transient error of a machine that is out of file descriptors, threads or memory."""
    return DeliveryError(
        EXPORT_FAILED,
        f"The server ran out of resources: {cause}.",
        "Raise the server's limits for open files, processes or memory; the export is retried.",
        transient=True,
    )


def backoff(wait: float, failures: int, growth: Growth = DEFAULT_GROWTH, draw: random.Random | None = None) -> float:
    """The seconds to wait after `failures` failures: exponential backoff with jitter (50 to 100 percent).

    The jitter keeps clients that failed together from retrying together.
    """
    due = min(growth.longest, wait * growth.factor ** min(failures - 1, _MOST_STEPS))
    return due * (draw or random).uniform(0.5, 1)


def probe_backoff(policy: RetryPolicy) -> Callable[[int], float]:
    """A function from the number of failed probes to the seconds until the next probe of the destination."""
    return lambda failures: backoff(policy.wait, failures, PROBES)


@dataclass
class RetryBudget:
    """The retries and time that a run has left.

    `window`: returns the deadline of a wait that starts at the given time (both epoch milliseconds); None for no
    deadline. `waits_since_ms`: when the current wait started; None when nothing failed since the last progress.
    `known`: the failures stored by earlier workers of the run.
    """

    policy: RetryPolicy
    clock: Clock
    window: Callable[[int], int] | None = None
    waits_since_ms: int | None = None
    known: Retries = field(default_factory=dict)
    in_place: float = _IN_PLACE_SECONDS
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._failures = {what: (count, since) for what, (count, since) in self.known.items()}

    def to_json(self) -> Retries:
        """The failures so far, to be passed as `known` to the next worker."""
        return {what: [count, since] for what, (count, since) in self._failures.items()}

    @property
    def ends_ms(self) -> int | None:
        """The deadline of the current wait, or of one that starts now; None for no deadline."""
        now = self.clock.now_ms()
        # A start in the future means that the clock was set back since.
        began = now if self.waits_since_ms is None else min(self.waits_since_ms, now)
        return None if self.window is None else self.window(began)

    def note_progress(self) -> None:
        """End the current wait: the next failure starts a new one."""
        self.waits_since_ms = None

    def next_delay(self, what: str, error: DeliveryError) -> float:
        """The seconds to wait before `what` is retried; raises the error when no retry is left.

        The last attempt is made when the window ends. A server's Retry-After is a minimum; one beyond the window's end
        fails the run.
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
        requested = error.retry_after or 0.0
        left = math.inf if ends is None else (ends - now) / 1000
        if requested > left:
            raise _retry_after_too_long(error, requested)
        COUNTS.add(RETRIES, error.code)
        growth = PROBES if error.unreachable else DEFAULT_GROWTH
        return min(left, requested + backoff(self.policy.wait, count, growth, self._random))

    def spend(self, seconds: float, errors: Sequence[DeliveryError], cancellation: CancellationToken) -> None:
        """Wait on the worker, or raise `DeferredError` for a longer wait; raises `CancelledError` when cancelled.

        A run never waits on the worker for a destination that does not answer: the queue then holds the destination's
        other runs too.
        """
        outage = next((error for error in errors if error.unreachable), None)
        if outage is not None or seconds > self.in_place:
            raise DeferredError(outage or errors[-1], seconds)
        self.in_place -= seconds
        sleep(seconds, cancellation)

    def _count(self, what: str, now: int) -> tuple[int, int]:
        count, since = self._failures.get(what, (0, now))
        # A first failure in the future means that the clock was set back since.
        self._failures[what] = (count + 1, min(since, now))
        return self._failures[what]

    def _is_spent(self, count: int) -> bool:
        attempts, retries = self.policy.attempts, self.policy.retries
        total = sum(failed for failed, _ in self._failures.values())
        return (attempts is not None and count >= attempts) or (retries is not None and total > retries)

    def _end(self, error: DeliveryError, since: int) -> int | None:
        own = None if error.window is None else since + round(error.window * 1000)
        return min((one for one in (own, self.ends_ms) if one is not None), default=None)


def retry(act: Callable[[], Result], what: str, budget: RetryBudget, cancellation: CancellationToken) -> Result:
    """Call `act` and return its result; retry after transient failures while the budget lasts.

    Raises the last `DeliveryError` (a permanent one at once), `DeferredError` when the run must wait in the queue, and
    `CancelledError` when cancelled.
    """
    while True:
        try:
            return act()
        except DeliveryError as error:
            budget.spend(budget.next_delay(what, error), [error], cancellation)


def _retry_after_too_long(error: DeliveryError, requested: float) -> DeliveryError:
    duration = f"{requested:.0f} seconds" if requested < 1e9 else "an unlimited time"  # noqa: PLR2004 - thirty years
    return DeliveryError(
        error.kind,
        f"{error.message} It requests a wait of {duration} (Retry-After), which is longer than this run may wait.",
        error.remedy,
        unreachable=error.unreachable,
        transient=False,
        retry_after=error.retry_after,
    )
