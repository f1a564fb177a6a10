"""Temporary credentials of an AWS role that the deployment's own identity assumes."""

import functools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from offtake.destinations.drivers.aws_client import code_of, pause_of, status_of
from offtake.errors import CREDENTIALS_REFUSED, DESTINATION_UNAVAILABLE, DeliveryError

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import S3Credential

_SECONDS: Final = 3600
_SPARE: Final = timedelta(minutes=5)
_TOO_MANY: Final = 429
_TRIED_AGAIN: Final = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout")


def _now() -> datetime:
    return datetime.now(UTC)


class AssumedRole:
    """A role; calling it returns credentials that are valid for at least five more minutes.

    Nothing is stored: the deployment's identity comes from Amazon's default credential chain (environment, profile,
    instance or container role), and the role's credentials are cached in memory for at most an hour.
    """

    def __init__(
        self, role: str, external_id: str, region: str, session_name: str, now: Callable[[], datetime] = _now
    ) -> None:
        self._request = {
            "RoleArn": role,
            "RoleSessionName": session_name,
            "ExternalId": external_id,
            "DurationSeconds": _SECONDS,
        }
        self._region = region
        self._now = now
        self._lock = threading.Lock()
        self._cached: S3Credential | None = None
        self.refusal: DeliveryError | None = None
        """Why there are no credentials, kept because the driver does not pass the reason on."""

    def __call__(self) -> "S3Credential":
        """Credentials, cached while they are valid; raises `DeliveryError`."""
        with self._lock:
            if self._cached is None or (self._cached["expires_at"] or self._now()) < self._now() + _SPARE:
                self._cached = self._assume()
            return self._cached

    def forget(self) -> None:
        """Drop the cached credentials: the store may treat them as expired before this clock does."""
        with self._lock:
            self._cached = None

    def _assume(self) -> "S3Credential":
        self.refusal = None
        try:
            found = _sts(self._region).assume_role(**self._request)["Credentials"]
        except Exception as error:  # noqa: BLE001 - botocore creates its error classes at run time
            self.refusal = _explain(error)
            raise self.refusal from None
        return {
            "access_key_id": found["AccessKeyId"],
            "secret_access_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            # The driver accepts the standard library's UTC only.
            "expires_at": found["Expiration"].astimezone(UTC),
        }


@functools.lru_cache(maxsize=256)
def assumed_role(role: str, external_id: str, region: str, session_name: str) -> AssumedRole:
    """The role; one instance for all parts that this process delivers with it."""
    return AssumedRole(role, external_id, region, session_name)


def _sts(region: str) -> Any:  # noqa: ANN401 - botocore creates its clients at run time
    from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to import
    from botocore.session import Session  # noqa: PLC0415 - as above

    config = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
    return Session().create_client("sts", region_name=region, config=config)


def _explain(error: Exception) -> DeliveryError:
    code, status = code_of(error), status_of(error)
    if 400 <= status < 500 and status != _TOO_MANY and code not in _TRIED_AGAIN:  # noqa: PLR2004 - client errors
        return DeliveryError(
            CREDENTIALS_REFUSED,
            f"Amazon's token service refused to assume the role ({code}).",
            "Name this deployment's identity and the base connection's external id in the role's trust policy.",
        )
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return DeliveryError(
            CREDENTIALS_REFUSED,
            "This deployment has no AWS credentials of its own, so it cannot assume a role.",
            "Ask the operator to give the server an instance role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    detail = code or type(error).__name__
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"Amazon's token service did not answer as expected ({detail}).",
        "Check the network; the export is retried.",
        retry_after=pause_of(error),
    )
