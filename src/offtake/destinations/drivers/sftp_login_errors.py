"""Translates errors of connecting and logging in to an SSH server into `DeliveryError`."""

from collections.abc import Iterable

from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.destinations.drivers.sftp_errors import printable, reason
from offtake.destinations.drivers.sftp_login import Login
from offtake.errors import ACCESS_DENIED, CREDENTIALS_REFUSED, DESTINATION_UNAVAILABLE, DeliveryError


def translate_login(error: Exception, login: Login, prompt: str | None = None) -> DeliveryError:
    """Translate an error of connecting or logging in. `prompt`: the server's prompt that has no known answer."""
    text = reason(error)
    if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in text:
        return _login_refused(login, prompt)
    if isinstance(error, asyncssh.ChannelOpenError):
        return DeliveryError(
            ACCESS_DENIED,
            f"{login.server} accepts the login of {login.username}, but does not offer SFTP.",
            "Ask the server's operator to allow SFTP for the user.",
        )
    cause = "it did not answer in time" if isinstance(error, TimeoutError) else text
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"{login.server} could not be reached over SSH: {cause}.",
        "Check the host, the port and the network; the export is retried.",
        unreachable=True,
    )


def nothing_in_common(login: Login, kind: str, theirs: Iterable[str], ours: Iterable[str]) -> DeliveryError:
    """The permanent error of a server that has no algorithm of a kind in common with Offtake."""
    old = " If the server cannot be changed, set allowOldAlgorithms in the base connection."
    return DeliveryError(
        ACCESS_DENIED,
        f"{login.server} has no {kind} algorithm in common with Offtake. The server supports {', '.join(theirs)}; "
        f"Offtake supports {', '.join(ours)}.",
        f"Ask the server's operator to allow one of Offtake's.{'' if login.old_algorithms else old}",
    )


def _login_refused(login: Login, prompt: str | None) -> DeliveryError:
    if prompt is not None:
        return DeliveryError(
            CREDENTIALS_REFUSED,
            f"{login.server} asked {login.username} for more than a password: {printable(prompt)!r}.",
            "Ask its operator to allow this user to log in with a password, a private key, or both only.",
        )
    sent = [what for what, value in (("private key", login.key), ("password", login.password)) if value is not None]
    return DeliveryError(
        CREDENTIALS_REFUSED,
        f"{login.server} refused to log {login.username} in with the {' and the '.join(sent)}.",
        "Correct the user name or the credentials in the base connection. If the server requires a private key and a "
        "password, send both.",
    )


def other_key(server: str, expected: str, shown: list[str]) -> DeliveryError:
    """The error of a server whose host key is not the expected one."""
    return DeliveryError(
        CREDENTIALS_REFUSED,
        f"{server} is not the expected server: its key is {' or '.join(dict.fromkeys(shown))}, not {expected}.",
        "If its operator confirms that the key was changed, set hostKeyFingerprint in the base connection to the new "
        "one; otherwise this may be a man-in-the-middle attack.",
    )
