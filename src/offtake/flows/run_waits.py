"""Waiting runs, for the API and the command line."""

from dataclasses import dataclass

from offtake.documents import Json
from offtake.store import run_states
from offtake.store.tables import Run


@dataclass(frozen=True)
class RunWait:
    """The wait of a run: its start, reason, next attempt and deadline (epoch milliseconds).

    `tries`: the run's own failures; zero for a run that waits because another run found the destination unreachable.
    `for_quota`: it is held for its sandbox's quota, and cannot be tried before that is raised or renewed.
    """

    since_ms: int
    code: str
    message: str
    next_ms: int | None
    until_ms: int | None
    tries: int
    for_quota: bool = False

    def to_json(self) -> Json:
        """Render it for the API."""
        return {
            "sinceUTC": self.since_ms,
            "reason": {"code": self.code, "message": self.message},
            "nextTryAtUTC": self.next_ms,
            "untilUTC": self.until_ms,
            "tries": self.tries,
        }


def wait_of(row: Run) -> RunWait | None:
    """The run's wait; None when it does not wait for its destination, its source or a quota."""
    if row.status != run_states.WAITING or row.waiting_since is None:
        return None
    reason = row.wait_reason
    tries = sum(count for count, _ in (row.retries or {}).values())
    code, message = (reason["code"], reason["message"]) if reason else ("", "")
    return RunWait(row.waiting_since, code, message, row.not_before, row.wait_until, tries, row.quota_since is not None)
