"""Why an SSH server does not let us in, in our words."""

from collections.abc import Iterable

from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.destinations.drivers.sftp_errors import printable, reason
from offtake.destinations.drivers.sftp_login import Login
from offtake.errors import ACCESS_DENIED, CREDENTIALS_REFUSED, DESTINATION_UNAVAILABLE, DeliveryError


def translate_login(error: Exception, login: Login, prompt: str | None = None) -> DeliveryError:
    """An error of connecting and logging in. `prompt`: what the server asked that no answer is known to."""
    text = reason(error)
    if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in text:
        return _login_refused(login, prompt)
    if isinstance(error, asyncssh.ChannelOpenError):
        return DeliveryError(
            ACCESS_DENIED,
            f"{login.server} logs {login.username} in, but offers no SFTP.",
            "Have the server's operator allow the user SFTP.",
        )
    said = "it did not answer in time" if isinstance(error, TimeoutError) else text
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"{login.server} could not be reached over SSH: {said}.",
        "Check the host, the port and the network; the export is tried again.",
        unreachable=True,
    )


def nothing_in_common(login: Login, kind: str, theirs: Iterable[str], ours: Iterable[str]) -> DeliveryError:
    """Server and client have no algorithm of some kind in common: to wait would not help."""
    old = " If the server cannot be changed, set allowOldAlgorithms in the base connection."
    return DeliveryError(
        ACCESS_DENIED,
        f"{login.server} has no {kind} algorithm in common with Offtake. The server has {', '.join(theirs)}; Offtake "
        f"has {', '.join(ours)}.",
        f"Have the server's operator allow one of Offtake's.{'' if login.old_algorithms else old}",
    )


def _login_refused(login: Login, prompt: str | None) -> DeliveryError:
    if prompt is not None:
        return DeliveryError(
            CREDENTIALS_REFUSED,
            f"{login.server} asked {login.username} for more than a password: {printable(prompt)!r}.",
            "Have its operator let this user in with a password, a private key, or both, and no further question.",
        )
    given = [what for what, value in (("private key", login.key), ("password", login.password)) if value is not None]
    return DeliveryError(
        CREDENTIALS_REFUSED,
        f"{login.server} refused to log {login.username} in with the {' and the '.join(given)}.",
        "Correct the user name or the credentials in the base connection. Where the server demands a private key and "
        "a password, give both.",
    )


def other_key(server: str, wanted: str, shown: list[str]) -> DeliveryError:
    """The server showed other keys than the one it is known by."""
    return DeliveryError(
        CREDENTIALS_REFUSED,
        f"{server} is not the expected server: its key is {' or '.join(dict.fromkeys(shown))}, not {wanted}.",
        "If its operator confirms that the key was changed, set hostKeyFingerprint in the base connection to the new "
        "one; if not, somebody may be posing as the server.",
    )
