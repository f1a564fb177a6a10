"""Error types of all packages. A message says what happened, to which resource, and what to do about it."""

import errno
import os
from dataclasses import dataclass
from typing import Any, Final

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
_NO_THREAD: Final = "can't start new thread"
_DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class OfftakeError(Exception):
    """A failure that a user or operator can act on; the text is one or two sentences, without secrets."""


@dataclass(frozen=True)
class FieldProblem:
    """One problem of one field of a request; `path` is a JSON pointer such as `/params/bucketName`."""

    path: str
    message: str
    missing: bool = False


class InvalidInputError(OfftakeError):
    """The caller's input is invalid; nothing was written. Contains all problems."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{problem.path}: {problem.message}" for problem in problems))


class DeliveryError(OfftakeError):
    """A run, or one part of it, failed.

    `code` is a run error code of the contract (`EXPORT-2001-403`, section 17.3). `transient`: a retry may succeed.
    `retry_after`: the delay in seconds that the destination requests. `unreachable`: the whole destination does not
    respond, so other runs do not try it. `window`: seconds during which it is retried; None: as long as the run may
    wait.
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
        """Pickle all fields: parts fail in worker processes."""
        behaviour = {name: getattr(self, name) for name in _BEHAVIOUR}
        return (_delivery_error, (self.code, self.message, self.remedy, behaviour))


_BEHAVIOUR: Final = ("transient", "retry_after", "unreachable", "window")


def _delivery_error(code: str, message: str, remedy: str, behaviour: dict[str, Any]) -> DeliveryError:
    return DeliveryError(code, message, remedy, **behaviour)


class CancelledError(OfftakeError):
    """The work was cancelled; its unfinished files are removed."""


class LeaseLostError(OfftakeError):
    """The lease has passed to another worker; this one must not write anything about the run any more."""


def disk_error(error: OSError) -> str | None:
    """The message of an error of the disk (full, over quota, read-only, I/O error); None for other errors."""
    return os.strerror(error.errno) if error.errno in _DISK_ERRORS else None


def exhaustion(error: BaseException) -> str | None:
    """The exhausted resource of a temporary error, such as `Too many open files`; None for other errors."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return "no more threads can be started"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno in _EXHAUSTED else None
