"""Finds calls to catalogs of others while a database session is open: a slow catalog would keep its connection.

A test in which there is one fails. Calls that requests make in other threads are found too: the context is passed on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from offtake.lake.registered import RegisteredTables
from offtake.store.database import Database

_open: ContextVar[int] = ContextVar("_open", default=0)


class CalledInSessionError(AssertionError):
    """A catalog was called while a database session was open."""


def install() -> None:
    """Check all calls of this process from now on."""
    for name in ("reading", "writing"):
        setattr(Database, name, _counting(getattr(Database, name)))
    for name in ("_load", "_open", "check"):
        setattr(RegisteredTables, name, _checked(getattr(RegisteredTables, name)))


def _counting(original: Any) -> Any:
    @contextmanager
    def session(self: Database) -> Iterator[Any]:
        with original(self) as opened:
            token = _open.set(_open.get() + 1)
            try:
                yield opened
            finally:
                _open.reset(token)

    return session


def _checked(original: Any) -> Any:
    def call(self: RegisteredTables, *arguments: Any, **named: Any) -> Any:
        if _open.get():
            raise CalledInSessionError("a catalog is called while a database session is open")
        return original(self, *arguments, **named)

    return call
