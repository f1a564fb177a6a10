"""The protocol of an engine, which writes the parts of runs; `offtake.engines` implements it."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from offtake.errors import DeliveryError, OfftakeError
from offtake.exporting.cancellation import CancellationToken
from offtake.exporting.part import PartTask, RecordIntent, WrittenPart


class PartsFailedError(OfftakeError):
    """Parts could not be written because of transient errors. `failures`: the error of each, by part number."""

    def __init__(self, failures: dict[int, DeliveryError]) -> None:
        self.failures = failures
        super().__init__("; ".join(str(error) for error in failures.values()))


class Engine(Protocol):
    """Writes the parts of runs, several at once."""

    def run(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, record_intent: RecordIntent
    ) -> Iterator[WrittenPart]:
        """Yield each part when it is written, in any order.

        Before the last step of each file, `record_intent` is called in the calling process, possibly in several threads
        at once; the step follows only when it returns. An error that it raises ends the run. After a transient failure
        no further part is started; parts in progress are finished, then `PartsFailedError` is raised. A permanent
        `DeliveryError` is raised at once, `CancelledError` soon after the cancellation; from then on nothing more of
        the run becomes visible. A worker process that dies is replaced, and its part is written again.
        """
        ...
