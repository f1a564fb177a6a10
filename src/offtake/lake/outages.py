"""Transient failures to read the lake: the store or the catalog is unreachable or overloaded.

Runs in worker processes: PyIceberg is not imported.
"""

import errno
import re
from typing import Final

from offtake.errors import SOURCE_UNAVAILABLE, DeliveryError, exhaustion

MISSING_SECONDS: Final = 120.0
"""How long a missing file is retried: a store may be eventually consistent, or a disk not mounted yet."""
_ERRNOS: Final = frozenset(
    (
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.ESTALE,
        errno.ETIMEDOUT,
    )
)
# Arrow's errors have only a text: the vendor's error code, an HTTP status, or a gRPC status.
_AMAZON: Final = (
    r"AWS Error (?:NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|REQUEST_TIMEOUT|INTERNAL_FAILURE)\b"
)
_STATUS: Final = r"\b(?:HTTP status|HTTP response code|status code:?|code:) ?(?:408|429|500|502|503|504)\b"
_GOOGLE: Final = r"google::cloud::Status\((?:UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL)\b"
_AZURE: Final = r"\b(?:ServerBusy|OperationTimedOut|InternalError|Fail to get a new connection)\b"
_TRANSIENT: Final = re.compile("|".join((_AMAZON, _STATUS, _GOOGLE, _AZURE)))


def is_transient(error: BaseException) -> bool:
    """Whether the file's store is unreachable or overloaded, or a resource of this machine is exhausted."""
    if exhaustion(error) is not None:
        return True
    return isinstance(error, OSError) and (error.errno in _ERRNOS or _TRANSIENT.search(str(error)) is not None)


def unreachable(what: str, cause: str) -> DeliveryError:
    """The transient `DeliveryError` for something that is temporarily unreadable."""
    return DeliveryError(
        SOURCE_UNAVAILABLE,
        f"{what} is temporarily unreadable: {cause}.",
    )
