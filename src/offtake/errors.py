"""The error types every room shares. An error says what happened, to which thing, and what to do about it."""

import errno
import os
from dataclasses import dataclass
from typing import Any, Final

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
_NO_THREAD: Final = "can't start new thread"
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class OfftakeError(Exception):
    """A failure a person can act on; its text is one or two plain sentences without secrets."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with one field of a request: `path` is a JSON pointer such as `/params/bucketName`."""

    path: str
    message: str
    missing: bool = False


class InvalidInputError(OfftakeError):
    """What a caller sent cannot be used; nothing was written. Carries every problem at once."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{problem.path}: {problem.message}" for problem in problems))


class DeliveryError(OfftakeError):
    """A run, or one part of it, could not be carried out.

    `code` is a run error code of the contract (`EXPORT-2001-403`, section 17.3), `transient` decides whether
    it is tried again, `retry_after` is the wait in seconds that the other side asked for. `unreachable`: the
    destination as a whole does not answer, so that other runs need not try. `window`: the seconds after which it is no
    longer tried again; None for as long as the run may wait.
    """

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str,
        *,
        transient: bool = False,
        retry_after: float | None = None,
        unreachable: bool = False,
        window: float | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.remedy = remedy
        self.transient = transient
        self.retry_after = retry_after
        self.unreachable = unreachable
        self.window = window
        super().__init__(f"{message} {remedy}".strip())

    def __reduce__(self) -> tuple[object, ...]:
        """Cross a process boundary whole: parts fail in worker processes."""
        behaviour = {name: getattr(self, name) for name in _BEHAVIOUR}
        return (_delivery_error, (self.code, self.message, self.remedy, behaviour))


_BEHAVIOUR: Final = ("transient", "retry_after", "unreachable", "window")


def _delivery_error(code: str, message: str, remedy: str, behaviour: dict[str, Any]) -> DeliveryError:
    return DeliveryError(code, message, remedy, **behaviour)


class CancelledError(OfftakeError):
    """The work was asked to stop; what it had begun is removed."""


class LeaseLostError(OfftakeError):
    """Another worker holds the run now; nothing more may be written about it."""


def disk_error(error: OSError) -> str | None:
    """What the disk says when it takes nothing more (`No space left on device`); None when the error is another."""
    return os.strerror(error.errno) if error.errno in _NO_ROOM else None


def exhaustion(error: BaseException) -> str | None:
    """What the machine has run out of (`Too many open files`), when that is what the error says; it passes."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return "no more threads can be started"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno in _EXHAUSTED else None
