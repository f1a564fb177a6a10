"""What goes wrong with an SSH server, in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, PLACE_NOT_FOUND, DeliveryError

LOST: Final = (asyncssh.DisconnectError, OSError)
_LONGEST_REASON: Final = 200


class SftpError(Exception):
    """The server did not do what it was asked to. `reason`: in its own words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class MissingError(SftpError):
    """There is no such file or folder."""


class DeniedError(SftpError):
    """The user may not do it."""


class UnsupportedError(SftpError):
    """The server does not know how."""


class NoSpaceError(SftpError):
    """The disk, or what the user may have of it, is full."""


# By the numbers of the protocol's drafts; those above 8 belong to later versions, and servers send them all the same.
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
"""Texts that say no more than the status."""
_NO_WORDS: Final = ("failure", "sftperror", "error", "")
"""Texts of servers that do not say why, a full disk among other reasons."""
_NETWORK: Final = "Check the network; the export is tried again."
_SPACE: Final = "Check the server's free space and its log; the export is tried again."
_REFUSED: Final = "The reason is in the server's words; ask its operator. The export is tried again."


def status_error(code: int, reason: str) -> SftpError:
    """The error that a status means."""
    return _BY_STATUS.get(code, SftpError)(reason)


@contextmanager
def translating_errors(where: str, right: str) -> Iterator[None]:
    """Raises what the block raises as `DeliveryError`. `right`: what the server's user must be allowed to do there."""
    try:
        yield
    except (SftpError, asyncssh.Error, OSError) as error:
        raise translate(error, where, right) from None


def translate(error: Exception, where: str, right: str) -> DeliveryError:
    """An error of work on a file or folder."""
    if isinstance(error, MissingError):
        return DeliveryError(
            PLACE_NOT_FOUND, f"{where} does not exist and cannot be made.", "Create the folder, or correct the path."
        )
    if isinstance(error, DeniedError | UnsupportedError):
        words = reason(error)
        said = "" if words.lower() in _USUAL_WORDS else f": {words}"
        verb = "denied the right to" if isinstance(error, DeniedError) else "does not know how to"
        return DeliveryError(
            ACCESS_DENIED, f"The server {verb} {right} at {where}{said}.", "Have it allowed to the user there."
        )
    if isinstance(error, TimeoutError):
        said, remedy = "it stopped answering", _NETWORK
    elif isinstance(
        error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection | OSError | asyncssh.DisconnectError
    ):
        said, remedy = "the connection broke", _NETWORK
    else:
        said = reason(error)
        remedy = _SPACE if isinstance(error, NoSpaceError) or said.lower() in _NO_WORDS else _REFUSED
    return DeliveryError(DESTINATION_UNAVAILABLE, f"The server did not {right} at {where}: {said}.", remedy)


def reason(error: Exception) -> str:
    """What the other side or the library said, short and printable."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return printable(str(said)).rstrip(".") or type(error).__name__


def printable(said: str) -> str:
    """Text of the other side that may be shown and logged."""
    return "".join(one if one.isprintable() else " " for one in said).strip()[:_LONGEST_REASON]
