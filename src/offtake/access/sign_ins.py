"""Checks of client secrets: hashed in threads of their own, with a rate limit on wrong secrets."""

import asyncio
import hashlib
import hmac
import logging
import os
import random
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from anyio import to_thread

from offtake.access import clients, tokens
from offtake.access.client_addresses import group_of
from offtake.access.sign_in_limits import SignInLimits
from offtake.access.tokens import BadCredentialsError
from offtake.errors import OfftakeError
from offtake.logs import same_line
from offtake.store.database import Database
from offtake.store.tables import Client

_log = logging.getLogger(__name__)
T = TypeVar("T")

_MOST_WAITING: Final = 32
_MOST_WAITING_OF_ONE: Final = 8
_MOST_KNOWN: Final = 4096
_WRONG_SECONDS: Final = 60.0
"""How long a wrong secret is cached; not longer, because a restored database may make it right again."""
_BUSY_SECONDS: Final = 2.0
_CORES_FOR_TWO: Final = 4


@dataclass
class SignInRefusedError(OfftakeError):
    """The secret was not checked: rate limit exceeded (429), or queue full (503). `retry_after` is in seconds."""

    status: int
    message: str
    retry_after: float

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class _Checked:
    """Whether a secret matches the stored hash, and of which client."""

    client: Client | None
    stored: str
    right: bool


class SignIns:
    """Checks client secrets. Hashing is slow on purpose, so it has one or two threads of its own and a short queue.

    Results are cached: during a flood of wrong secrets, clients that signed in before still can. The refusal of a
    secret that is cached as wrong, or that exceeds the rate limit, is delayed by about `hold` seconds, which slows
    down brute-force attacks.
    """

    def __init__(self, per_minute: int, hold: float = 1.0, now: Callable[[], float] = time.monotonic) -> None:
        threads = 2 if (os.cpu_count() or 1) >= _CORES_FOR_TWO else 1
        self._pool = ThreadPoolExecutor(threads, "sign-in")
        self._limits, self._now = SignInLimits(per_minute, now), now
        self._hold = hold
        self._key = secrets.token_bytes(32)
        # Reentrant: `_finish` runs in the thread that adds it as a callback if the check is already done.
        self._lock = threading.RLock()
        self._right: OrderedDict[bytes, str] = OrderedDict()
        self._wrong_until: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, Future[_Checked]] = {}
        self._waiting: Counter[str] = Counter()

    def close(self) -> None:
        """Stop the threads; checks that wait are cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def check(self, database: Database, client_id: str, secret: str, address: str) -> Client:
        """The client with that id and secret; raises `BadCredentialsError` and `SignInRefusedError`."""
        presented = self._digest(client_id, secret)
        if self._now() < self._wrong_until.get(presented, 0.0):
            raise await self._delay(BadCredentialsError(tokens.BAD_CREDENTIALS), client_id, address)
        if presented in self._right:
            client = await to_thread.run_sync(tokens.find, database, client_id)
            stored = clients.stored_hash(client)
            if client is not None and clients.may_sign_in(client) and self._right.get(presented) == stored:
                return client
        checked = await self._hash(database, presented, client_id, secret, group_of(address))
        if checked.client is None or not checked.right:
            raise _note(BadCredentialsError(tokens.BAD_CREDENTIALS), client_id, address)
        return checked.client

    async def _hash(self, database: Database, presented: bytes, client_id: str, secret: str, address: str) -> _Checked:
        """Hash and compare; concurrent calls with the same secret share one computation."""
        with self._lock:
            running = self._running.get(presented)
            refusal = self._count(client_id, address) if running is None else None
            if running is None and refusal is None:
                running = self._running[presented] = self._submit(database, client_id, secret)
                running.add_done_callback(lambda done: self._finish(done, presented, client_id, address))
        if running is None:
            assert refusal is not None  # noqa: S101 - one of the two is set
            raise await self._delay(refusal, client_id, address)
        # Shielded: a caller that disconnects must not cancel it for the others.
        return await asyncio.shield(asyncio.wrap_future(running))

    def _submit(self, database: Database, client_id: str, secret: str) -> Future[_Checked]:
        try:
            return self._pool.submit(_check_secret, database, client_id, secret)
        except RuntimeError as error:
            # The process cannot start another thread.
            failed: Future[_Checked] = Future()
            failed.set_exception(error)
            return failed

    def _count(self, client_id: str, address: str) -> SignInRefusedError | None:
        """Why a secret is not hashed now; None if it may be, which counts it."""
        if self._waiting.total() >= _MOST_WAITING or self._waiting[address] >= _MOST_WAITING_OF_ONE:
            return SignInRefusedError(503, "Too many sign-ins are waiting. Retry in a few seconds.", _BUSY_SECONDS)
        wait = self._limits.take(client_id, address)
        if wait:
            return SignInRefusedError(429, "Too many sign-ins with a wrong secret. Retry later.", wait)
        self._waiting[address] += 1
        return None

    def _finish(self, done: Future[_Checked], presented: bytes, client_id: str, address: str) -> None:
        checked = None if done.cancelled() or done.exception() is not None else done.result()
        with self._lock:
            del self._running[presented]
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
            if checked is None or checked.right:
                self._limits.give_back(client_id, address)
            if checked is not None and checked.right:
                _remember(self._right, presented, checked.stored)
            elif checked is not None:
                _remember(self._wrong_until, presented, self._now() + _WRONG_SECONDS)

    async def _delay(self, refusal: OfftakeError, client_id: str, address: str) -> OfftakeError:
        # With jitter, so that callers that came at the same time do not return at the same time.
        await asyncio.sleep(self._hold * random.uniform(0.5, 1.5))  # noqa: S311 - no secret depends on it
        return _note(refusal, client_id, address)

    def _digest(self, client_id: str, secret: str) -> bytes:
        """The cache key of a secret: an HMAC whose key exists only in this process."""
        message = b"\0".join(one.encode(errors="surrogatepass") for one in (client_id, secret))
        return hmac.digest(self._key, message, hashlib.sha256)


def _remember(known: OrderedDict[bytes, T], presented: bytes, value: T) -> None:
    known[presented] = value
    known.move_to_end(presented)
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)


def _check_secret(database: Database, client_id: str, secret: str) -> _Checked:
    client = tokens.find(database, client_id)
    stored = clients.stored_hash(client)
    # The same work for an unknown id as for a wrong secret: timing does not reveal which ids exist.
    same = clients.secret_matches(stored, secret)
    return _Checked(client, stored, same and client is not None and clients.may_sign_in(client))


def _note(refusal: OfftakeError, client_id: str, address: str) -> OfftakeError:
    shown = client_id.encode("unicode_escape").decode()[:100]
    _log.warning("sign-in of client %s from %s refused: %s", shown, address, refusal, extra=same_line("sign-in"))
    return refusal
