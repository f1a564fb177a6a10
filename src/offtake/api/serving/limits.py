"""Limits on open connections and requests in flight, in total and per client address."""

import resource
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Protocol

from offtake.settings import Settings

_MOST_CONNECTIONS: Final = 4096
_MOST_REQUESTS: Final = 1024


@dataclass(frozen=True)
class Limits:
    """Limits of one server process. Fewer requests than connections, so that an idle connection can be closed."""

    connections: int
    connections_of_one: int
    requests: int
    requests_of_one: int
    head_seconds: float
    body_seconds: float


def limits_of(settings: Settings, descriptors: int | None = None) -> Limits:
    """The limits of a process that may open that many file descriptors; None: read this process's soft limit.

    Half of the descriptors are for connections, a quarter for files that requests open, and a quarter for databases,
    worker processes and runs.
    """
    most = _descriptors() if descriptors is None else descriptors
    connections = max(2, min(settings.open_connections or _MOST_CONNECTIONS, most // 2))
    requests = min(settings.concurrent_requests or _MOST_REQUESTS, connections // 2)
    return Limits(
        connections,
        min(settings.open_connections_per_address, connections),
        requests,
        min(settings.concurrent_requests_per_address, requests),
        settings.request_head_seconds,
        settings.request_body_seconds,
    )


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else soft


class Connection(Protocol):
    """An open connection."""

    def drop(self) -> None:
        """Close it immediately; unsent data is lost."""
        ...


@dataclass
class ConnectionCounts:
    """Counts open connections and requests in flight per address. Not thread-safe: for the event loop's thread.

    A new connection is always accepted. Over a limit, the longest idle connection is closed: one of the same address,
    or, over the total limit, one of the address with the most idle ones. So idle connections do not block others.
    """

    limits: Limits
    _idle: dict[str, dict[Connection, None]] = field(default_factory=dict)
    _busy: dict[Connection, str] = field(default_factory=dict)
    _open: Counter[str] = field(default_factory=Counter)
    _requests: Counter[str] = field(default_factory=Counter)
    _unsigned: set[Connection] = field(default_factory=set)

    def enter(self, connection: Connection, group: str, *, shared: bool = False) -> bool:
        """Count a new connection of this group of addresses; returns whether another connection was closed for it.

        `shared`: it comes from a trusted proxy, so the limit per address does not apply.
        """
        crowded = not shared and self._open[group] >= self.limits.connections_of_one
        dropped = crowded and self._drop_one(group)
        if self._open.total() >= self.limits.connections:
            dropped = self._drop_one(max(self._idle, key=lambda one: len(self._idle[one]), default="")) or dropped
        self._idle.setdefault(group, {})[connection] = None
        self._open[group] += 1
        return dropped

    def leave(self, connection: Connection, group: str) -> None:
        """Remove a connection from the counts; no-op for an unknown one."""
        idle = self._idle.get(group, {})
        if connection in idle:
            del idle[connection]
            if not idle:
                del self._idle[group]
        elif self._busy.pop(connection, None) is None:
            return
        _subtract(self._open, group)

    def begin(self, connection: Connection, group: str, caller: str, *, signed: bool = True) -> str | None:
        """Count a request; returns the limit that it exceeds ("address" or "server"), or None.

        `group` are the connection's addresses, `caller` the client's behind a proxy. `signed`: it has a token.
        Requests without one share half of the total: they may send their bodies slowly, while a request with a wrong
        token is refused before its body is read.
        """
        if self._requests[caller] >= self.limits.requests_of_one:
            return "address"
        if self._requests.total() >= self.limits.requests:
            return "server"
        if not signed:
            if len(self._unsigned) >= (self.limits.requests + 1) // 2:
                return "server"
            self._unsigned.add(connection)
        idle = self._idle.get(group, {})
        if connection in idle:
            del idle[connection]
            if not idle:
                del self._idle[group]
            self._busy[connection] = group
        self._requests[caller] += 1
        return None

    def end(self, connection: Connection, group: str, caller: str) -> None:
        """Count the end of a request; its connection becomes the most recently idle one."""
        self._unsigned.discard(connection)
        _subtract(self._requests, caller)
        if self._busy.pop(connection, None) is not None:
            self._idle.setdefault(group, {})[connection] = None

    def _drop_one(self, group: str) -> bool:
        longest = next(iter(self._idle.get(group, {})), None)
        if longest is None:
            return False
        self.leave(longest, group)
        longest.drop()
        return True


def _subtract(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
