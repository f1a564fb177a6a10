"""Translates the errors of object stores into `DeliveryError`.

Stores report a status, and a code in the body. The body itself is never shown: some contain the key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from offtake.errors import (
    ACCESS_DENIED,
    CREDENTIALS_REFUSED,
    DESTINATION_UNAVAILABLE,
    PLACE_NOT_FOUND,
    DeliveryCode,
    DeliveryError,
)

Act = Literal["write", "read", "list", "delete"]
BASE_CONNECTION: Final = "the base connection"


@dataclass(frozen=True)
class RequiredPermissions:
    """The permissions for each operation, in the vendor's terms."""

    write: str
    read: str
    list: str
    delete: str


@dataclass(frozen=True)
class _ErrorResponse:
    """The message and remedy for one kind of error.

    The texts may contain `root`, `endpoint`, `address`, `act`, `right`, `keeper` and `detail`.
    """

    kind: DeliveryCode
    message: str
    remedy: str
    transient: bool = False


_Kind = Literal[
    "overtaken", "expired", "clock", "credentials", "no root", "region", "denied", "no object", "refused", "away"
]

_ANSWERS: Final[Mapping[_Kind, _ErrorResponse]] = {
    "overtaken": _ErrorResponse(
        DESTINATION_UNAVAILABLE,
        "The upload of {address} was deleted by another process before it was complete{detail}.",
        "Another worker may have taken over the run; the export is retried.",
        transient=True,
    ),
    "expired": _ErrorResponse(
        CREDENTIALS_REFUSED,
        "The temporary credentials for {address} have expired{detail}.",
        "New credentials are requested; the export is retried.",
        transient=True,
    ),
    "clock": _ErrorResponse(
        CREDENTIALS_REFUSED,
        "{endpoint} reports that this machine's clock is wrong{detail}.",
        "Set the clock, then retry.",
    ),
    "credentials": _ErrorResponse(
        CREDENTIALS_REFUSED,
        "{endpoint} refused the credentials for {address}{detail}.",
        "Enter valid credentials in {keeper}.",
    ),
    "no root": _ErrorResponse(PLACE_NOT_FOUND, "The {root} does not exist.", "Create it, or correct its name."),
    "region": _ErrorResponse(
        PLACE_NOT_FOUND,
        "The bucket of {address} is in another region.",
        "Enter the bucket's region in {keeper}.",
    ),
    "denied": _ErrorResponse(
        ACCESS_DENIED, "{endpoint} denied permission to {act} {address}{detail}.", "Grant {right} there."
    ),
    "no object": _ErrorResponse(PLACE_NOT_FOUND, "The object {address} does not exist.", "Find out what removed it."),
    "refused": _ErrorResponse(
        ACCESS_DENIED,
        "{endpoint} refused the request to {act} {address}{detail}.",
        "Correct the target connection (storage class, encryption key), or the store's policies.",
    ),
    "away": _ErrorResponse(
        DESTINATION_UNAVAILABLE,
        "{endpoint} could not be reached or did not answer as expected for {address}{detail}.",
        "Check the endpoint and the network; the export is retried.",
        transient=True,
    ),
}
_CODES: Final[Mapping[str, _Kind]] = {
    "ExpiredToken": "expired",
    "TokenRefreshRequired": "expired",
    "RequestTimeTooSkewed": "clock",
    "RequestExpired": "clock",
    "InvalidAccessKeyId": "credentials",
    "SignatureDoesNotMatch": "credentials",
    "InvalidToken": "credentials",
    "InvalidSecurity": "credentials",
    "AuthenticationFailed": "credentials",
    "InvalidAuthenticationInfo": "credentials",
    "NoAuthenticationInformation": "credentials",
    "NoSuchBucket": "no root",
    "ContainerNotFound": "no root",
    "FilesystemNotFound": "no root",
    "PermanentRedirect": "region",
    "AuthorizationHeaderMalformed": "region",
    "RequestTimeout": "away",
    "NoSuchUpload": "overtaken",
    "InvalidBlockList": "overtaken",
}
_DENIED: Final = 403
_OVERLOADED: Final = (429, 502, 503, 504)
_NO_ANSWER: Final = "error sending request"
"""The driver's text when it could not connect or got no response, after its own quick retries."""
_TRIED_AGAIN: Final = (408, 409, 425, 429)


class RefusalError(Exception):
    """An error of a request that was not made by the driver, with a text like the driver's: a status, a code, a name.

    `retry_after`: the store's Retry-After in seconds.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


def is_missing_root(error: Exception) -> bool:
    """Whether the bucket or container itself is missing."""
    return _CODES.get(_code(str(error))) == "no root"


def explain(
    error: Exception, address: str, endpoint: str, act: Act, rights: RequiredPermissions, keeper: str = BASE_CONNECTION
) -> DeliveryError:
    """Translate an error of the driver. `address`: the object's URL; `endpoint`: the store's name in messages.

    `keeper`: where the credentials are configured.
    """
    text = str(error).partition("Debug source")[0]
    code, status = _code(text), _status(text)
    answer = _ANSWERS[_kind(error, text, code, status)]
    known = ", ".join(part for part in (code, f"status {status}" if status else "") if part)
    words = {
        "root": _root(address),
        "address": address,
        "endpoint": endpoint,
        "act": act,
        "right": getattr(rights, act),
        "keeper": keeper,
        "detail": f" ({known})" if known else "",
    }
    message, remedy = answer.message.format_map(words), answer.remedy.format_map(words)
    retry_after = error.retry_after if isinstance(error, RefusalError) else None
    return DeliveryError(
        answer.kind,
        message,
        remedy,
        transient=answer.transient,
        retry_after=retry_after,
        unreachable=answer.transient and (status in _OVERLOADED or _NO_ANSWER in text),
    )


def _root(address: str) -> str:
    """The bucket or container of an object's URL, with its kind; of an emulator's URL, all of it."""
    scheme, _, rest = address.partition("://")
    first, _, path = rest.partition("/")
    if scheme in ("http", "https"):
        return f"container {path.partition('/')[0]}" if ".blob." in first else f"container of {address}"
    return f"bucket {first}"


def _kind(error: Exception, text: str, code: str, status: int | None) -> _Kind:
    if code in _CODES:
        return _CODES[code]
    if isinstance(error, UnauthenticatedError) or _sign_in_refused(text):
        return "credentials"
    if isinstance(error, PermissionDeniedError) or status == _DENIED:
        return "denied"
    if isinstance(error, FileNotFoundError):
        return "no object"
    if "without LOCATION" in text:
        return "region"
    wrong = status is not None and 400 <= status < 500  # noqa: PLR2004 - client errors
    return "refused" if wrong and status not in _TRIED_AGAIN else "away"


def _code(text: str) -> str:
    found = re.search(r"<Code>([A-Za-z0-9.]{1,80})</Code>", text)
    return found[1] if found else ""


def status_of(error: Exception) -> int | None:
    """The HTTP status in the driver's error; None when there is none."""
    return _status(str(error).partition("Debug source")[0])


def _status(text: str) -> int | None:
    found = re.search(r"status(?: code)?:? (\d{3})\b", text)
    return int(found[1]) if found else None


def _sign_in_refused(text: str) -> bool:
    """Whether the text is Microsoft's for a wrong principal, secret or tenant, or for a wrong signature."""
    texts = r"AADSTS\d+|invalid_client|unauthorized_client|invalid_request|failed to authenticate the request"
    return re.search(texts, text) is not None
