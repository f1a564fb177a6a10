"""Requests for ranges of stored files, in the background. Runs in worker processes: PyIceberg is not imported.

All requests of a process run in one event loop, in a thread of its own: a request that is not needed any more is
cancelled, and its connection closed, whatever the store does.
"""

import asyncio
import atexit
import errno
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake.storage.access import FileAccess, place_of
from offtake.lake.storage.renewal import current
from offtake.lake.storage.translation import translating_errors

if TYPE_CHECKING:
    from obstore import Bytes, GetOptions, GetResult
    from obstore.store import ObjectStore

_POLL_SECONDS: Final = 0.1
_END_SECONDS: Final = 2.0
_NO_RANGE: Final = ("416", "non-partial response")
"""Texts of the driver for a range outside of the object (an empty one has none), and for one that was not heeded."""
Result = TypeVar("Result")
Check = Callable[[], None]
"""Raises when the work must stop. Called about ten times a second while a request runs."""


@dataclass(frozen=True)
class Version:
    """One state of an object. `tag`: its ETag, when the store has one."""

    size: int
    tag: str | None


@dataclass(frozen=True)
class Fetched:
    """The bytes of a range from `start` on, and the state of the object that they are of."""

    start: int
    data: "Bytes | bytes"
    version: Version


class StoredObject:
    """One object of a store. `check` is called while a request is waited for."""

    def __init__(self, access: FileAccess, location: str, check: Check | None = None) -> None:
        self._access, self.location, self._check = access, location, check
        self._place = place_of(access, location)
        self._version: Version | None = None

    def request(self, start: int, end: int) -> "Future[Fetched]":
        """Request the range `[start, end)`, which must not be empty. Does not wait."""
        return _submit(_fetch(self._store(), self._place.key, {"range": (start, end)}))

    def request_tail(self, length: int, size: int | None) -> "Future[Fetched]":
        """Request the last `length` bytes. `size`: that of the object, if it is known. Does not wait."""
        # Azure has no ranges that count from the end.
        return _submit(_tail(self._store(), self._place.key, length, size, suffixes=self._access.kind != "azure"))

    def request_whole(self, most: int) -> "Future[Fetched]":
        """Request the object; without its bytes when it has more than `most`. Does not wait."""
        return _submit(_fetch(self._store(), self._place.key, {}, most))

    def wait(self, request: "Future[Fetched]") -> Fetched:
        """The answer. Raises `DeliveryError`, `FileNotFoundError`, and what `check` raises.

        The object must be the same in all answers.
        """
        with translating_errors(self.location):
            found = result_of(request, self._check)
        if self._version is not None and found.version != self._version:
            raise DeliveryError(
                EXPORT_FAILED,
                f"The object {self.location[:300]} was replaced while it was read.",
                "Files of Iceberg tables never change: find out what overwrites them. The export is retried.",
                transient=True,
            )
        self._version = found.version
        return found

    def _store(self) -> "ObjectStore":
        from offtake.lake.storage.stores import store_of  # noqa: PLC0415 - slow to import; local lakes do without

        # Asked for each request: lent credentials may expire while a long file is read.
        return store_of(current(self._access), self._place)


def result_of(request: "Future[Result]", check: Check | None) -> Result:
    """The result of a request. Raises its error; cancels it when the wait ends by another error."""
    try:
        while check is not None and not wait([request], _POLL_SECONDS).done:
            check()
        return request.result()
    except BaseException:
        request.cancel()
        raise


async def _fetch(store: "ObjectStore", key: str, options: "GetOptions", most: int | None = None) -> Fetched:
    import obstore  # noqa: PLC0415 - slow to import; local lakes do without

    found: GetResult = await obstore.get_async(store, key, options=options)
    start, end = found.range
    if most is not None and end - start > most:
        return Fetched(start, b"", Version(found.meta["size"], found.meta["e_tag"]))
    data = await found.bytes_async()
    if len(data) != end - start:
        raise ConnectionResetError(errno.ECONNRESET, f"the store sent {len(data)} of {end - start} bytes")
    return Fetched(start, data, Version(found.meta["size"], found.meta["e_tag"]))


async def _tail(store: "ObjectStore", key: str, length: int, size: int | None, *, suffixes: bool) -> Fetched:
    import obstore  # noqa: PLC0415 - as above
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as above

    try:
        if size is not None and size <= length:
            found = await _fetch(store, key, {}, length)
            if len(found.data) == found.version.size:
                return found
        elif size is not None:
            found = await _fetch(store, key, {"range": (size - length, size)})
            if found.version.size == size:
                return found
        if suffixes:
            return await _fetch(store, key, {"range": {"suffix": length}})
    except BaseError as error:
        if isinstance(error, FileNotFoundError) or not any(text in str(error) for text in _NO_RANGE):
            raise
    meta = await obstore.head_async(store, key)
    if meta["size"] <= length:
        return await _fetch(store, key, {})
    return await _fetch(store, key, {"range": (meta["size"] - length, meta["size"])})


_lock: Final = threading.Lock()


def _submit(work: Coroutine[Any, Any, Result]) -> "Future[Result]":
    with _lock:
        loop = _started_loop(os.getpid())
    return asyncio.run_coroutine_threadsafe(work, loop)


@lru_cache(maxsize=1)
def _started_loop(_process: int) -> asyncio.AbstractEventLoop:
    """The event loop of the process; a forked one does not have its parent's threads."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop,), name="requests", daemon=True)
    thread.start()
    atexit.register(_end, loop, thread)
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(_cancel_all())
    loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Cancels all requests. The thread is a daemon: a request that ignores it does not keep the process alive."""
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_END_SECONDS)
