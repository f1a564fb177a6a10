"""An engine in this process, whose parts fail as a test says, and workers that die where a test says."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offtake import failpoints
from offtake.destinations.drivers.temporary_names import temporary_name
from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, DeliveryError
from offtake.exporting.cancellation import CancellationToken, raise_if_cancelled
from offtake.exporting.engine import PartsFailedError
from offtake.exporting.part import PartTask, RecordIntent, WrittenPart, export_part

_SOON_SECONDS: Final = 5


class Crash(BaseException):
    """A worker's death: nothing of ours handles it."""


@dataclass
class FaultyEngine:
    """Carries out parts one after another, each with the next of `faults`, or without one.

    `away`: nothing is written, for a reason that passes; `unsure`: the part is written and said to have failed so;
    `collected`: the part is written, and its consumer takes it away; `refused`: what does not pass; `cancelled`: while
    the part is due, a client cancels the run (`cancel`), and its worker notices.
    """

    cancel: Callable[[], None] = lambda: None
    zone: Path = Path()
    faults: deque[str] = field(default_factory=deque)

    def run(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, record_intent: RecordIntent
    ) -> Iterator[WrittenPart]:
        """Finished parts; see `exporting.engine.Engine`."""
        for task in list(tasks):
            try:
                written = self._carry_out(
                    task, self.faults.popleft() if self.faults else "", cancellation, record_intent
                )
            except DeliveryError as error:
                if not error.transient:
                    raise
                raise PartsFailedError({task.number: error}) from None
            yield written

    def _carry_out(
        self, task: PartTask, fault: str, cancellation: CancellationToken, record_intent: RecordIntent
    ) -> WrittenPart:
        if fault in ("away", "refused"):
            raise away() if fault == "away" else refused()
        if fault == "cancelled":
            self.cancel()
            _until_cancelled(cancellation)
        try:
            written = export_part(task, cancellation, record_intent)
        except Crash:
            leave_half(self.zone / task.key)
            raise
        if fault == "unsure":
            raise away()
        if fault == "collected":
            self.collect(self.zone / task.key)
        return written

    def collect(self, path: Path) -> None:
        """Move a file to the folder `taken` next to the zone, as a consumer that empties the zone.

        Fails when a file of that name was taken away before: it has come twice.
        """
        taken = self.taken / path.relative_to(self.zone)
        assert not taken.exists()
        taken.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.rename(taken)

    @property
    def taken(self) -> Path:
        """Where the files are that were taken away."""
        return self.zone.with_name("taken")


def leave_half(path: Path) -> None:
    """Write what a killed writer leaves: half a file, under a temporary name next to the final one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(temporary_name(path.name)).write_bytes(b"half a file")


@contextmanager
def at(point: str, reached: Callable[[], None]) -> Iterator[None]:
    """Call `reached` at the point, until the block ends; `name:2` is the second time."""
    failpoints.arm(point, reached)
    try:
        yield
    finally:
        failpoints.arm("")


def crash() -> None:
    """Die."""
    raise Crash


def away() -> DeliveryError:
    """The destination does not answer for now."""
    return DeliveryError(DESTINATION_UNAVAILABLE, "The destination is away.", "Wait.", transient=True)


def refused() -> DeliveryError:
    """The destination does not want it."""
    return DeliveryError(ACCESS_DENIED, "The destination refuses.", "Grant the right.")


def fail(error: DeliveryError) -> Callable[[], None]:
    """What fails with that."""

    def reached() -> None:
        raise error

    return reached


def _until_cancelled(cancellation: CancellationToken) -> None:
    until = time.monotonic() + _SOON_SECONDS
    while time.monotonic() < until:
        raise_if_cancelled(cancellation)
        time.sleep(0.005)
    raise AssertionError("the worker does not hear that its run is cancelled")
