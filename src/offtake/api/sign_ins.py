"""Sign-ins with a secret: checked apart from the threads that answer requests, and limited where they fail."""

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

from fastapi.concurrency import run_in_threadpool

from offtake.access import clients, tokens
from offtake.access.sign_in_limits import SignInLimits
from offtake.access.tokens import BadCredentialsError
from offtake.api.serving.forwarded import group_of
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
"""How long a wrong secret is known to be wrong: the database behind the server may be restored to an earlier one."""
_BUSY_SECONDS: Final = 2.0
_CORES_FOR_TWO: Final = 4


@dataclass
class SignInRefusedError(OfftakeError):
    """The secret was not looked at: too many failed (429), or too many wait to be looked at (503)."""

    status: int
    message: str
    retry_after: float

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class _Checked:
    """What came of a secret: whether it is the one with this hash."""

    client: Client | None
    stored: str
    right: bool


class SignIns:
    """Checks secrets. Slow by intent, so it has threads of its own, one or two, and a short queue.

    What it knows, it need not hash again: under a flood of wrong secrets, clients that have signed in before still do.
    A secret that is known to be wrong, or that comes after too many wrong ones, is answered after `hold` seconds: who
    tries one after the other gets no further, and takes little from others meanwhile.
    """

    def __init__(self, per_minute: int, hold: float = 1.0, now: Callable[[], float] = time.monotonic) -> None:
        threads = 2 if (os.cpu_count() or 1) >= _CORES_FOR_TWO else 1
        self._pool = ThreadPoolExecutor(threads, "sign-in")
        self._limits, self._now = SignInLimits(per_minute, now), now
        self._hold = hold
        self._key = secrets.token_bytes(32)
        # A check may be over before it is known to be running.
        self._lock = threading.RLock()
        self._right: OrderedDict[bytes, str] = OrderedDict()
        self._wrong_until: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, Future[_Checked]] = {}
        self._waiting: Counter[str] = Counter()

    def close(self) -> None:
        """Look at no further secret."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def check(self, database: Database, client_id: str, secret: str, address: str) -> Client:
        """The client whose secret that is; raises `BadCredentialsError`, and `SignInRefusedError`."""
        presented = self._digest(client_id, secret)
        if self._now() < self._wrong_until.get(presented, 0.0):
            raise await self._is_held(BadCredentialsError(tokens.BAD_CREDENTIALS), client_id, address)
        if presented in self._right:
            client = await run_in_threadpool(tokens.find, database, client_id)
            stored = clients.stored_hash(client)
            if client is not None and clients.may_sign_in(client) and self._right.get(presented) == stored:
                return client
        checked = await self._hash(database, presented, client_id, secret, group_of(address))
        if checked.client is None or not checked.right:
            raise _note(BadCredentialsError(tokens.BAD_CREDENTIALS), client_id, address)
        return checked.client

    async def _hash(self, database: Database, presented: bytes, client_id: str, secret: str, address: str) -> _Checked:
        """What hashing says; those that present the same at the same time share one."""
        with self._lock:
            running = self._running.get(presented)
            refusal = self._count(client_id, address) if running is None else None
            if running is None and refusal is None:
                running = self._running[presented] = self._submit(database, client_id, secret)
                running.add_done_callback(lambda done: self._finish(done, presented, client_id, address))
        if running is None:
            assert refusal is not None  # noqa: S101 - one of both is there
            raise await self._is_held(refusal, client_id, address)
        # One caller that leaves must not take the answer from the others.
        return await asyncio.shield(asyncio.wrap_future(running))

    def _submit(self, database: Database, client_id: str, secret: str) -> Future[_Checked]:
        try:
            return self._pool.submit(_look_at, database, client_id, secret)
        except RuntimeError as error:
            # No thread can be started.
            failed: Future[_Checked] = Future()
            failed.set_exception(error)
            return failed

    def _count(self, client_id: str, address: str) -> SignInRefusedError | None:
        """Why a secret is not hashed now, else None, and it is counted."""
        if self._waiting.total() >= _MOST_WAITING or self._waiting[address] >= _MOST_WAITING_OF_ONE:
            return SignInRefusedError(503, "Too many sign-ins wait. Try again in a moment.", _BUSY_SECONDS)
        wait = self._limits.take(client_id, address)
        if wait:
            return SignInRefusedError(429, "Too many sign-ins with a wrong secret. Try again later.", wait)
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

    async def _is_held(self, refusal: OfftakeError, client_id: str, address: str) -> OfftakeError:
        # By chance, so that those who came together do not come back together.
        await asyncio.sleep(self._hold * random.uniform(0.5, 1.5))  # noqa: S311 - no secret depends on it
        return _note(refusal, client_id, address)

    def _digest(self, client_id: str, secret: str) -> bytes:
        """What is remembered of a secret: worth nothing without this process's memory."""
        message = b"\0".join(one.encode(errors="surrogatepass") for one in (client_id, secret))
        return hmac.digest(self._key, message, hashlib.sha256)


def _remember(known: OrderedDict[bytes, T], presented: bytes, what: T) -> None:
    known[presented] = what
    known.move_to_end(presented)
    if len(known) > _MOST_KNOWN:
        known.popitem(last=False)


def _look_at(database: Database, client_id: str, secret: str) -> _Checked:
    client = tokens.find(database, client_id)
    stored = clients.stored_hash(client)
    # The same work for an unknown id as for a wrong secret: neither can be told from the other.
    same = clients.secret_matches(stored, secret)
    return _Checked(client, stored, same and client is not None and clients.may_sign_in(client))


def _note(refusal: OfftakeError, client_id: str, address: str) -> OfftakeError:
    shown = client_id.encode("unicode_escape").decode()[:100]
    _log.warning("sign-in of client %s from %s refused: %s", shown, address, refusal, extra=same_line("sign-in"))
    return refusal
