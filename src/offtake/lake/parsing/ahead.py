"""Read-ahead: a thread reads the next block while the caller uses this one; Arrow's readers release the GIL."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Pairs of item and `function(item)`, in order, computed by one thread that is one item ahead.

    Raises what `items` and `function` raise, after the items before have been yielded.
    """
    remaining = iter(items)

    def step() -> tuple[Item, Result] | None:
        for item in remaining:
            return item, function(item)
        return None

    thread = ThreadPoolExecutor(1, "read-ahead")
    try:
        following = thread.submit(step)
        while (found := following.result()) is not None:
            following = thread.submit(step)
            yield found
    finally:
        # A caller that stops early does not wait for a block that was not started.
        thread.shutdown(cancel_futures=True)
