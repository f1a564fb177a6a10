"""Temporary credentials of an Amazon role that this deployment's own identity assumes."""

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
    """A role; called, it gives credentials that live for at least five more minutes.

    Nothing is stored: the deployment's identity is what Amazon's own chain finds (environment, profile, instance or
    container role), and what the role gives is held in memory for at most an hour.
    """

    def __init__(
        self, role: str, external_id: str, region: str, session_name: str, now: Callable[[], datetime] = _now
    ) -> None:
        self._asked = {
            "RoleArn": role,
            "RoleSessionName": session_name,
            "ExternalId": external_id,
            "DurationSeconds": _SECONDS,
        }
        self._region = region
        self._now = now
        self._lock = threading.Lock()
        self._held: S3Credential | None = None
        self.refusal: DeliveryError | None = None
        """Why there are no credentials, if there are none: the driver that calls would lose the reason."""

    def __call__(self) -> "S3Credential":
        """Credentials, those from before while they live; raises `DeliveryError`."""
        with self._lock:
            if self._held is None or (self._held["expires_at"] or self._now()) < self._now() + _SPARE:
                self._held = self._assume()
            return self._held

    def forget(self) -> None:
        """Ask anew next time: a store may find that credentials have ended before they do here."""
        with self._lock:
            self._held = None

    def _assume(self) -> "S3Credential":
        self.refusal = None
        try:
            given = _sts(self._region).assume_role(**self._asked)["Credentials"]
        except Exception as error:  # noqa: BLE001 - botocore makes its classes of errors while it runs
            self.refusal = _explain(error)
            raise self.refusal from None
        return {
            "access_key_id": given["AccessKeyId"],
            "secret_access_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            # The driver takes the standard library's UTC and no other.
            "expires_at": given["Expiration"].astimezone(UTC),
        }


@functools.lru_cache(maxsize=256)
def assumed_role(role: str, external_id: str, region: str, session_name: str) -> AssumedRole:
    """The role, one for all parts that this process delivers with it."""
    return AssumedRole(role, external_id, region, session_name)


def _sts(region: str) -> Any:  # noqa: ANN401 - botocore makes its clients while it runs
    from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to import
    from botocore.session import Session  # noqa: PLC0415 - as above

    config = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
    return Session().create_client("sts", region_name=region, config=config)


def _explain(error: Exception) -> DeliveryError:
    code, status = code_of(error), status_of(error)
    if 400 <= status < 500 and status != _TOO_MANY and code not in _TRIED_AGAIN:  # noqa: PLR2004 - the statuses of what a client did wrong
        return DeliveryError(
            CREDENTIALS_REFUSED,
            f"Amazon's token service refused to assume the role ({code}).",
            "Let the role's trust policy name this deployment's identity, and the external id of the base connection.",
        )
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return DeliveryError(
            CREDENTIALS_REFUSED,
            "This deployment has no identity of its own at Amazon, so it cannot assume a role.",
            "Have the operator give the server an instance role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    said = code or type(error).__name__
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"Amazon's token service did not answer as expected ({said}).",
        "Check the network; the export is tried again.",
        retry_after=pause_of(error),
    )
