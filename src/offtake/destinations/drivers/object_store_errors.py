"""What an object store answers when it refuses, in our words.

Stores say what is wrong with a status, and a code in the body. The body itself is never repeated: some hold the key.
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
    """What the store's owner must grant for each act, in the vendor's own words."""

    write: str
    read: str
    list: str
    delete: str


@dataclass(frozen=True)
class _ErrorResponse:
    """How one kind of refusal is told.

    The texts may name `endpoint`, `where`, `act`, `right`, `keeper` and what was `said`.
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
        "Somebody else removed what was written of {where} before it was complete{said}.",
        "Another writer may have taken over; the export is tried again.",
        transient=True,
    ),
    "expired": _ErrorResponse(
        CREDENTIALS_REFUSED,
        "The temporary credentials for {where} have expired{said}.",
        "They are asked for anew.",
        transient=True,
    ),
    "clock": _ErrorResponse(
        CREDENTIALS_REFUSED, "{endpoint} finds this machine's clock wrong{said}.", "Set the clock, then try again."
    ),
    "credentials": _ErrorResponse(
        CREDENTIALS_REFUSED,
        "{endpoint} refused the credentials for {where}{said}.",
        "Enter valid credentials in {keeper}.",
    ),
    "no root": _ErrorResponse(
        PLACE_NOT_FOUND, "The bucket or container of {where} does not exist.", "Create it, or correct its name."
    ),
    "region": _ErrorResponse(
        PLACE_NOT_FOUND,
        "The bucket of {where} is in another region.",
        "Enter the bucket's region in {keeper}.",
    ),
    "denied": _ErrorResponse(
        ACCESS_DENIED, "{endpoint} denied the right to {act} {where}{said}.", "Grant {right} there."
    ),
    "no object": _ErrorResponse(PLACE_NOT_FOUND, "There is no object {where}.", "Find out who removed it."),
    "refused": _ErrorResponse(
        ACCESS_DENIED,
        "{endpoint} refused the request to {act} {where}{said}.",
        "Correct the target connection (storage class, encryption key), or the store's own rules.",
    ),
    "away": _ErrorResponse(
        DESTINATION_UNAVAILABLE,
        "{endpoint} could not be reached or did not answer as expected for {where}{said}.",
        "Check the endpoint and the network; the export is tried again.",
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
"""What the driver says when it could not connect or had no answer, after its own quick retries."""
_TRIED_AGAIN: Final = (408, 409, 425, 429)


class RefusalError(Exception):
    """A refusal, told like the driver's errors, by whatever is used beside it: a status, a code, a name.

    `retry_after`: seconds after which the store wants to be asked again.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


def is_missing_root(error: Exception) -> bool:
    """True when the bucket or container itself is not there."""
    return _CODES.get(_code(str(error))) == "no root"


def explain(
    error: Exception, where: str, endpoint: str, act: Act, rights: RequiredPermissions, keeper: str = BASE_CONNECTION
) -> DeliveryError:
    """The driver's error, told. `where`: the object's address; `endpoint`: whom the store is asked of.

    `keeper`: what holds the credentials, and is to be corrected when they are wrong.
    """
    text = str(error).partition("Debug source")[0]
    code, status = _code(text), _status(text)
    answer = _ANSWERS[_kind(error, text, code, status)]
    known = ", ".join(part for part in (code, f"status {status}" if status else "") if part)
    words = {
        "where": where,
        "endpoint": endpoint,
        "act": act,
        "right": getattr(rights, act),
        "keeper": keeper,
        "said": f" ({known})" if known else "",
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
    wrong = status is not None and 400 <= status < 500  # noqa: PLR2004 - the statuses of what a client did wrong
    return "refused" if wrong and status not in _TRIED_AGAIN else "away"


def _code(text: str) -> str:
    found = re.search(r"<Code>([A-Za-z0-9.]{1,80})</Code>", text)
    return found[1] if found else ""


def status_of(error: Exception) -> int | None:
    """The status that the driver's error tells of."""
    return _status(str(error).partition("Debug source")[0])


def _status(text: str) -> int | None:
    found = re.search(r"status(?: code)?:? (\d{3})\b", text)
    return int(found[1]) if found else None


def _sign_in_refused(text: str) -> bool:
    """Microsoft's sign-in answers a wrong principal, secret or tenant so; its stores, a wrong signature."""
    told = r"AADSTS\d+|invalid_client|unauthorized_client|invalid_request|failed to authenticate the request"
    return re.search(told, text) is not None
