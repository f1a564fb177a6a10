"""Runs that wait, as the API and the command line show them."""

from dataclasses import dataclass

from offtake.contract.bodies import Json
from offtake.store import run_states
from offtake.store.tables import Run


@dataclass(frozen=True)
class RunWait:
    """Since when a run waits and why, when it is tried next and until when at most; epoch milliseconds.

    `tries`: how often it failed itself; a run that waits for its destination together with others may not have tried.
    """

    since_ms: int
    code: str
    message: str
    next_ms: int | None
    until_ms: int | None
    tries: int

    def to_json(self) -> Json:
        """As the API shows it."""
        return {
            "sinceUTC": self.since_ms,
            "reason": {"code": self.code, "message": self.message},
            "nextTryAtUTC": self.next_ms,
            "untilUTC": self.until_ms,
            "tries": self.tries,
        }


def wait_of(row: Run) -> RunWait | None:
    """How the run waits; None when it does not wait for its destination or its source."""
    if row.status != run_states.WAITING or row.waiting_since is None:
        return None
    reason = row.wait_reason or {}
    tries = sum(count for count, _ in (row.retries or {}).values())
    code, message = str(reason.get("code", "")), str(reason.get("message", ""))
    return RunWait(row.waiting_since, code, message, row.not_before, row.wait_until, tries)
