"""Which failures to read the lake pass by themselves: a store or a catalog that cannot be reached, or is overloaded.

Runs in worker processes: PyIceberg is not imported.
"""

import errno
import re
from typing import Final

from offtake.errors import SOURCE_UNAVAILABLE, DeliveryError, exhaustion

MISSING_SECONDS: Final = 120.0
"""How long a file that is not there is waited for: a store may be consistent a little later, a disk be mounted."""
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
# Arrow gives nothing but a text: the kind of the vendor's error, a status, or the number of a transfer error.
_AMAZON: Final = (
    r"AWS Error (?:NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|REQUEST_TIMEOUT|INTERNAL_FAILURE)\b"
)
_STATUS: Final = r"\b(?:HTTP status|HTTP response code|status code:?|code:) ?(?:408|429|500|502|503|504)\b"
_GOOGLE: Final = r"google::cloud::Status\((?:UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL)\b"
_AZURE: Final = r"\b(?:ServerBusy|OperationTimedOut|InternalError|Fail to get a new connection)\b"
_PASSES: Final = re.compile("|".join((_AMAZON, _STATUS, _GOOGLE, _AZURE)))


def is_transient(error: BaseException) -> bool:
    """Whether the store that has the file cannot be reached, or is overloaded, or this machine is."""
    if exhaustion(error) is not None:
        return True
    return isinstance(error, OSError) and (error.errno in _ERRNOS or _PASSES.search(str(error)) is not None)


def unreachable(what: str, cause: str) -> DeliveryError:
    """The transient error for what cannot be read for now."""
    return DeliveryError(
        SOURCE_UNAVAILABLE,
        f"{what} cannot be read for now: {cause}.",
    )
