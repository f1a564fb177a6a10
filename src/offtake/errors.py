"""Error types of all packages, and the table of delivery errors.

A message says what happened, to which resource, and what to do about it.
"""

import errno
import os
from dataclasses import dataclass
from typing import Any, Final

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
_NO_THREAD: Final = "can't start new thread"
_DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class OfftakeError(Exception):
    """A failure that a user or operator can act on; the text is one or two sentences, without secrets."""


class NoDeploymentError(OfftakeError):
    """The data directory or the database has no deployment of Offtake; nothing was written."""


class WrongUsageError(OfftakeError):
    """The options of a command are missing, malformed or contradictory; nothing was written."""


class BusyError(OfftakeError):
    """All places for work of this kind are taken; the request can be retried in a few seconds."""


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


@dataclass(frozen=True)
class DeliveryCode:
    """An error or warning code of runs (contract, section 17.3).

    `transient`: whether the run is retried, by default. `remedy`: what the user should do, by default.
    """

    code: str
    meaning: str
    remedy: str
    transient: bool = False


CREDENTIALS_REFUSED: Final = DeliveryCode(
    "EXPORT-2001-401", "the destination refuses the credentials", "Enter valid credentials in the base connection."
)
ACCESS_DENIED: Final = DeliveryCode(
    "EXPORT-2001-403", "the destination denies a right, or a setting is wrong", "Grant the right that the error names."
)
PLACE_NOT_FOUND: Final = DeliveryCode(
    "EXPORT-2002-404", "the bucket, container, folder or object does not exist", "Create it, or correct its name."
)
DESTINATION_UNAVAILABLE: Final = DeliveryCode(
    "EXPORT-2003-504",
    "the destination is unreachable, overloaded or does not answer as expected",
    "Check the destination and the network; the export is retried.",
    transient=True,
)
KEY_UNUSABLE: Final = DeliveryCode(
    "EXPORT-2004-400",
    "files cannot be encrypted with the public key, or the form of the files was changed during the run",
    "Enter another public key, or run the flow again.",
)
DATASET_FORBIDDEN: Final = DeliveryCode(
    "EXPORT-1403-403",
    "the user who last edited the flow no longer has access to the dataset",
    "Grant view-datasets again, or have another user edit the flow.",
)
DATASET_GONE: Final = DeliveryCode(
    "EXPORT-1404-404", "the dataset no longer exists", "Remove it from the flow's source connection."
)
SNAPSHOT_EXPIRED: Final = DeliveryCode(
    "EXPORT-1410-410",
    "the last delivered snapshot is not in the table's history; as a warning: everything is delivered again",
    "Nothing: the next run exports in full.",
)
QUOTA_REACHED: Final = DeliveryCode(
    "EXPORT-1429-429",
    "the sandbox's monthly quota is reached: new runs wait, and do not fail",
    "Nothing: the run starts when the quota renews. An administrator can raise it: offtake quota set.",
    transient=True,
)
CANCELLED: Final = DeliveryCode(
    "EXPORT-1499-400", "the run was cancelled", "Run the flow again when it should deliver."
)
EXPORT_FAILED: Final = DeliveryCode(
    "EXPORT-1500-500",
    "the data cannot be exported, or the server failed",
    "Follow the error's text; the server's log has the details.",
)
SOURCE_UNAVAILABLE: Final = DeliveryCode(
    "EXPORT-1503-503",
    "the warehouse or its catalog is unreachable",
    "Check that the warehouse and its catalog are reachable; the export is retried.",
    transient=True,
)
VALUES_LEFT_OUT: Final = DeliveryCode(
    "EXPORT-1200-200",
    "warning: values were left out or shortened, as the format cannot hold them",
    "Choose a format that can hold them, if the consumer needs them.",
)
FILES_KEPT: Final = DeliveryCode(
    "EXPORT-1201-200", "warning: files of a failed or cancelled run stay delivered", "Nothing: the next run continues."
)
DELETES_NOT_COUNTED: Final = DeliveryCode(
    "EXPORT-1202-200",
    "warning: the count of deleted rows is without those that equality deletes removed",
    "Nothing: the rows are right; only the count is incomplete.",
)
COLUMNS_LEFT_OUT: Final = DeliveryCode(
    "EXPORT-1203-200",
    "warning: the exported snapshot is older than some of the chosen columns, so files lack them",
    "Nothing, if the consumer expects it; later snapshots have them.",
)
DELIVERY_CODES: Final = (
    CREDENTIALS_REFUSED,
    ACCESS_DENIED,
    PLACE_NOT_FOUND,
    DESTINATION_UNAVAILABLE,
    KEY_UNUSABLE,
    DATASET_FORBIDDEN,
    DATASET_GONE,
    SNAPSHOT_EXPIRED,
    QUOTA_REACHED,
    CANCELLED,
    EXPORT_FAILED,
    SOURCE_UNAVAILABLE,
    VALUES_LEFT_OUT,
    FILES_KEPT,
    DELETES_NOT_COUNTED,
    COLUMNS_LEFT_OUT,
)


def split_remedy(code: str, message: str) -> tuple[str, str | None]:
    """The message without the code's default remedy, and that remedy; None if the message does not end with it."""
    remedy = next((one.remedy for one in DELIVERY_CODES if one.code == code), "")
    if remedy and message.endswith(f" {remedy}"):
        return message.removesuffix(remedy).rstrip(), remedy
    return message, None


class DeliveryError(OfftakeError):
    """A run, or one part of it, failed.

    `retry_after`: the delay in seconds that the destination requests. `unreachable`: the whole destination does not
    respond, so other runs do not try it. `window`: seconds during which the run is retried; None: as long as the run
    may wait.
    """

    def __init__(
        self,
        kind: DeliveryCode,
        message: str,
        remedy: str | None = None,
        *,
        transient: bool | None = None,
        retry_after: float | None = None,
        unreachable: bool = False,
        window: float | None = None,
    ) -> None:
        """`remedy` and `transient`: as the table has them, unless given."""
        self.kind = kind
        self.message = message
        self.remedy = kind.remedy if remedy is None else remedy
        self.transient = kind.transient if transient is None else transient
        self.retry_after = retry_after
        self.unreachable = unreachable
        self.window = window
        super().__init__(f"{message} {self.remedy}".strip())

    @property
    def code(self) -> str:
        """The contract's code, such as `EXPORT-2001-403`."""
        return self.kind.code

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle all fields: parts fail in worker processes."""
        behaviour = {name: getattr(self, name) for name in _BEHAVIOUR}
        return (_delivery_error, (self.kind, self.message, self.remedy, behaviour))


_BEHAVIOUR: Final = ("transient", "retry_after", "unreachable", "window")


def _delivery_error(kind: DeliveryCode, message: str, remedy: str, behaviour: dict[str, Any]) -> DeliveryError:
    return DeliveryError(kind, message, remedy, **behaviour)


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
