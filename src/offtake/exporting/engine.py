"""What a run asks of an engine; the engines themselves live a floor up."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from offtake.exporting.part import PartTask, Written


class Engine(Protocol):
    """Carries out the parts of runs, several at once."""

    def run(self, tasks: Iterable[PartTask], cancelled: Callable[[], bool]) -> Iterator[Written]:
        """Finished parts as they finish, in any order.

        Raises the first part's failure after the others in flight have stopped; `CancelledError` soon after
        `cancelled` turns true. A worker process that dies is replaced and its part done again.
        """
        ...
