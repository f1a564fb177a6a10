"""What goes wrong with an SSH server, in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from offtake.destinations.sftp_library import asyncssh
from offtake.errors import DeliveryError

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


# By the numbers of the protocol's drafts; those above 8 belong to later versions, and servers send them all the same.
_BY_STATUS: Final[dict[int, type[SftpError]]] = {
    2: MissingError,
    3: DeniedError,
    8: UnsupportedError,
    10: MissingError,
    12: DeniedError,
}


def status_error(code: int, reason: str) -> SftpError:
    """The error that a status means."""
    return _BY_STATUS.get(code, SftpError)(reason)


@contextmanager
def told(where: str, right: str) -> Iterator[None]:
    """Raises what the block raises as `DeliveryError`. `right`: what the server's user must be allowed to do there."""
    try:
        yield
    except (SftpError, asyncssh.Error, OSError) as error:
        raise translate(error, where, right) from None


def translate(error: Exception, where: str, right: str) -> DeliveryError:
    """An error of work on a file or folder."""
    if isinstance(error, DeniedError):
        return DeliveryError(
            "EXPORT-2001-403", f"The server denied the right to {right} at {where}.", "Grant it to the user there."
        )
    if isinstance(error, MissingError):
        return DeliveryError(
            "EXPORT-2002-404", f"{where} does not exist and cannot be made.", "Create the folder, or correct the path."
        )
    if isinstance(error, TimeoutError):
        said = "it stopped answering"
    elif isinstance(
        error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection | OSError | asyncssh.DisconnectError
    ):
        said = "the connection broke"
    else:
        said = reason(error)
    return DeliveryError(
        "EXPORT-2003-504",
        f"The server did not {right} at {where}: {said}.",
        "Check the server's free space and the network; the export is tried again.",
        transient=True,
    )


def translate_login(error: Exception, server: str, username: str) -> DeliveryError:
    """An error of connecting and logging in."""
    text = reason(error)
    if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in text:
        return DeliveryError(
            "EXPORT-2001-401",
            f"{server} refused to log {username} in.",
            "Enter a valid user name with its password or private key in the base connection.",
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        return DeliveryError(
            "EXPORT-2001-403",
            f"{server} logs {username} in, but offers no SFTP.",
            "Have the server's operator allow the user SFTP.",
        )
    said = "it did not answer in time" if isinstance(error, TimeoutError) else text
    return DeliveryError(
        "EXPORT-2003-504",
        f"{server} could not be reached over SSH: {said}.",
        "Check the host, the port and the network; the export is tried again.",
        transient=True,
        unreachable=True,
    )


def other_key(server: str, wanted: str, shown: list[str]) -> DeliveryError:
    """The server showed other keys than the one it is known by."""
    return DeliveryError(
        "EXPORT-2001-401",
        f"{server} is not the expected server: its key is {' or '.join(dict.fromkeys(shown))}, not {wanted}.",
        "If its operator confirms that the key was changed, set hostKeyFingerprint in the base connection to the new "
        "one; if not, somebody may be posing as the server.",
    )


def reason(error: Exception) -> str:
    """What the other side or the library said, short and printable."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    plain = "".join(one if one.isprintable() else " " for one in str(said))
    return plain.strip().rstrip(".")[:_LONGEST_REASON] or type(error).__name__
