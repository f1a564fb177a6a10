"""The next block is read while the caller works with this one: Arrow's readers leave Python's lock to others."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
    """Each item with what is made of it, in order; both come from one other thread, which is one item ahead.

    Raises what `items` and `make` raise, when the items before have been given out.
    """
    coming = iter(items)

    def step() -> tuple[Item, Made] | None:
        for item in coming:
            return item, make(item)
        return None

    thread = ThreadPoolExecutor(1, "read-ahead")
    try:
        following = thread.submit(step)
        while (found := following.result()) is not None:
            following = thread.submit(step)
            yield found
    finally:
        # Who asks for no more does not wait for a block that was not begun.
        thread.shutdown(cancel_futures=True)
