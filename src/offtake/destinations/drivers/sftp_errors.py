"""Translates the errors of SFTP servers into `DeliveryError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, PLACE_NOT_FOUND, DeliveryError

LOST: Final = (asyncssh.DisconnectError, OSError)
_LONGEST_REASON: Final = 200


class SftpError(Exception):
    """The server refused a request or failed. `reason`: the server's text."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class MissingError(SftpError):
    """The file or folder does not exist."""


class DeniedError(SftpError):
    """The user lacks the permission."""


class UnsupportedError(SftpError):
    """The server does not support the operation."""


class NoSpaceError(SftpError):
    """The disk or the user's quota is full."""


# Status codes of the protocol's drafts; those above 8 belong to later versions, but servers send them nevertheless.
_BY_STATUS: Final[dict[int, type[SftpError]]] = {
    2: MissingError,
    3: DeniedError,
    8: UnsupportedError,
    10: MissingError,
    12: DeniedError,
    14: NoSpaceError,
    15: NoSpaceError,
}
_USUAL_WORDS: Final = ("permission denied", "access denied", "operation unsupported", "unsupported operation", "denied")
"""Texts that add nothing to the status."""
_NO_WORDS: Final = ("failure", "sftperror", "error", "")
"""Texts without a reason, which servers send for a full disk too."""
_NETWORK: Final = "Check the network; the export is retried."
_SPACE: Final = "Check the server's free space and its log; the export is retried."
_REFUSED: Final = "The reason is the server's text; ask its operator. The export is retried."


def status_error(code: int, reason: str) -> SftpError:
    """The exception for a status code."""
    return _BY_STATUS.get(code, SftpError)(reason)


@contextmanager
def translating_errors(address: str, right: str) -> Iterator[None]:
    """Translate the block's errors into `DeliveryError`. `right`: the permission that the server's user needs."""
    try:
        yield
    except (SftpError, asyncssh.Error, OSError) as error:
        raise translate(error, address, right) from None


def translate(error: Exception, address: str, right: str) -> DeliveryError:
    """Translate an error of an operation on a file or folder."""
    if isinstance(error, MissingError):
        return DeliveryError(
            PLACE_NOT_FOUND,
            f"{address} does not exist and cannot be created.",
            "Create the folder, or correct the path.",
        )
    if isinstance(error, DeniedError | UnsupportedError):
        text = reason(error)
        detail = "" if text.lower() in _USUAL_WORDS else f": {text}"
        verb = "denied permission to" if isinstance(error, DeniedError) else "does not support the operation to"
        return DeliveryError(
            ACCESS_DENIED, f"The server {verb} {right} at {address}{detail}.", "Grant the user that permission there."
        )
    if isinstance(error, TimeoutError):
        cause, remedy = "it stopped answering", _NETWORK
    elif isinstance(
        error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection | OSError | asyncssh.DisconnectError
    ):
        cause, remedy = "the connection was lost", _NETWORK
    else:
        cause = reason(error)
        remedy = _SPACE if isinstance(error, NoSpaceError) or cause.lower() in _NO_WORDS else _REFUSED
    return DeliveryError(DESTINATION_UNAVAILABLE, f"The server failed to {right} at {address}: {cause}.", remedy)


def reason(error: Exception) -> str:
    """The text of the server's or library's error, short and printable."""
    text = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return printable(str(text)).rstrip(".") or type(error).__name__


def printable(text: str) -> str:
    """Make the server's text safe to show and log: printable, at most 200 characters."""
    return "".join(one if one.isprintable() else " " for one in text).strip()[:_LONGEST_REASON]
