"""The notifier: turns events into messages and sends these, in threads of its own: nothing waits for receivers."""

import logging
import threading
from dataclasses import dataclass, field
from typing import Final

from offtake.alerts import grouping, sender
from offtake.alerts.channels.base import SendContext
from offtake.alerts.sender import Claim
from offtake.deployment.backend import Backend
from offtake.deployment.mail_settings import mail_of
from offtake.logs import retried, same_line
from offtake.store.database import StoreBusyError, StoreFullError

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0
_THREADS: Final = 16
_DOUBTFUL: Final = 8
"""Threads for channels whose last attempt failed: they may keep a thread until the deadline."""
_IN_A_ROW: Final = 100
_STOP_SECONDS: Final = 3.0


@dataclass
class Notifier:
    """Groups events and sends messages of one process. Several processes may do this: messages are claimed."""

    backend: Backend
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sending: dict[str, bool] = field(default_factory=dict)
    """The channels that this process sends to, and whether their last attempt failed."""
    _threads: set[threading.Thread] = field(default_factory=set)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then wait for a few seconds for messages that are being sent."""
        wakeup = self.backend.database.wakeup
        while not stop.is_set():
            seen = wakeup.generation
            more = False
            try:
                more = self.group()
                self._start_sending(stop)
            except (StoreBusyError, StoreFullError) as error:
                _log.warning("alerts could not be sent: %s Retrying.", error, extra=retried("alerts"))
            except Exception:  # noqa: BLE001 - the notifier survives every error
                _log.exception("alerts could not be sent; retrying", extra=retried("alerts"))
            if not more:
                wakeup.wait(seen, _PAUSE_SECONDS)
        with self._lock:
            running = list(self._threads)
        for thread in running:
            thread.join(_STOP_SECONDS / max(1, len(running)))

    def group(self) -> bool:
        """Group new events; whether there may be more."""
        now = self.backend.clock.now_ms()
        database = self.backend.database
        return grouping.has_work(database, now) and grouping.group_events(database, now)

    def send_all(self) -> int:
        """Send the messages that are due, one after another, in this thread; returns the number of attempts."""
        attempts = 0
        while (claim := sender.claim_next(self.backend.database, self.backend.clock.now_ms())) is not None:
            self._attempt(claim)
            attempts += 1
        return attempts

    def _start_sending(self, stop: threading.Event) -> None:
        while True:
            with self._lock:
                busy, doubtful = list(self._sending), sum(self._sending.values())
            if len(busy) >= _THREADS:
                return
            now = self.backend.clock.now_ms()
            claim = sender.claim_next(self.backend.database, now, busy, only_healthy=doubtful >= _DOUBTFUL)
            if claim is None:
                return
            thread = threading.Thread(target=self._send, args=(claim, stop), name="alert", daemon=True)
            with self._lock:
                self._sending[claim.channel_id] = claim.failed_before
                self._threads.add(thread)
            thread.start()

    def _send(self, claim: Claim, stop: threading.Event) -> None:
        """Send messages of one channel, until none is due or one could not be sent."""
        database, clock = self.backend.database, self.backend.clock
        try:
            following: Claim | None = claim
            for _ in range(_IN_A_ROW):
                if following is None or not self._attempt(following) or stop.is_set():
                    return
                following = sender.claim_next(database, clock.now_ms(), channel_id=claim.channel_id)
            if following is not None:
                sender.release(database, following)
        except Exception:  # noqa: BLE001 - the claim expires, and the message is sent again
            _log.exception("the result of an alert could not be stored", extra=same_line("alert"))
        finally:
            with self._lock:
                self._sending.pop(claim.channel_id, None)
                self._threads.discard(threading.current_thread())

    def _attempt(self, claim: Claim) -> bool:
        """Send a message and record the result; whether it was sent."""
        backend = self.backend
        context = SendContext(backend.network, mail_of(backend.settings), backend.clock.now_seconds())
        result = sender.send(backend.database, backend.vault, claim, context)
        sender.record(backend.database, claim, result, backend.clock.now_ms())
        if not result.is_sent:
            _log.warning(
                "alert %s could not be sent%s: %s",
                claim.message_id,
                " and is not retried" if result.is_permanent else "",
                result.answer,
                extra=same_line(claim.channel_id),
            )
        return result.is_sent
