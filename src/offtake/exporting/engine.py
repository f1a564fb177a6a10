"""What a run asks of an engine; the engines themselves live a floor up."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from offtake.errors import DeliveryError, OfftakeError
from offtake.exporting.cancellation import CancellationToken
from offtake.exporting.part import PartTask, RecordIntent, WrittenPart


class PartsFailedError(OfftakeError):
    """Parts could not be written, for reasons that pass: their numbers, and each one's error."""

    def __init__(self, failures: dict[int, DeliveryError]) -> None:
        self.failures = failures
        super().__init__("; ".join(str(error) for error in failures.values()))


class Engine(Protocol):
    """Carries out the parts of runs, several at once."""

    def run(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, record_intent: RecordIntent
    ) -> Iterator[WrittenPart]:
        """Finished parts as they finish, in any order.

        Before the last step of each file, `record_intent` is called in the process that called this, in any of its
        threads, several at once; only when it returns is the step taken. What it raises ends the run with that error.
        After a transient failure no further part is begun; those in flight are finished, then `PartsFailedError` is
        raised. A terminal `DeliveryError` is raised at once, `CancelledError` soon after the leash says so; then
        nothing of the run becomes visible any more. A worker process that dies is replaced and its part done again.
        """
        ...
