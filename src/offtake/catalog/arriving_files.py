"""Files while they arrive in a request: blocking work runs in the thread pool."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from anyio import CancelScope, to_thread

from offtake.lake.uploads import Incoming


@asynccontextmanager
async def arriving(begin: Callable[[], Incoming]) -> AsyncIterator[Incoming]:
    """Context manager: the file; one that is not published by the end of the block is discarded, also on cancellation.

    Raises as `begin` does.
    """
    incoming = await to_thread.run_sync(begin)
    try:
        yield incoming
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(incoming.close)
