"""A landing zone in a folder of an S3 bucket: the server's own identity, consumers' sessions, and what leaves it."""

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from obstore.store import S3Store

from offtake.destinations.drivers.aws_client import RIGHTS, UPLOADS, code_of, make_client, pause_of, status_of
from offtake.destinations.drivers.multipart_cleanup import UnfinishedUploads
from offtake.destinations.drivers.object_store import (
    RETRIES,
    SIGNED,
    Bucket,
    Endpoint,
    ObjectStoreSink,
    StoreOverrides,
    client_options,
)
from offtake.destinations.drivers.object_store_errors import Act, RefusalError, explain
from offtake.destinations.zones import SETTINGS, S3Zones
from offtake.errors import DeliveryError

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import S3Credential

Environment = tuple[tuple[str, str], ...]

SHORTEST: Final = 900
LONGEST: Final = 3600
"""How long sessions may last, in seconds: Amazon's least, and its most where one role assumes another."""

_FRESH: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class TemporaryCredentials:
    """Temporary credentials of a consumer; `expires_at` in epoch seconds."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: int


def open_folder(zones: S3Zones, folder: str) -> ObjectStoreSink:
    """The folder's sink; of the store, nothing is asked yet. Raises `DeliveryError` without an identity."""
    identity = _Identity()
    identity()
    store = S3Store(
        zones.bucket,
        prefix=folder,
        region=zones.region,
        endpoint=zones.url,
        # Buckets with dots in their names, and compatible stores, need the path style.
        virtual_hosted_style_request=False,
        # One by one, a refusal to delete is told as what it is.
        disable_bulk_delete=True,
        client_options=client_options(zones.network, Endpoint(zones.url, chosen=zones.endpoint is not None)),
        retry_config=RETRIES,
        credential_provider=identity,
        config=SIGNED,
    )
    bucket = Bucket(
        root=f"s3://{zones.bucket}/{folder}",
        endpoint=zones.endpoint or "Amazon S3",
        rights=RIGHTS,
        network=zones.network,
        guarded=zones.endpoint is not None,
        refusal=lambda: identity.refusal,
        keeper="the environment that gives the server its identity at Amazon",
    )
    uploads = UnfinishedUploads(
        root=bucket.root,
        bucket=zones.bucket,
        prefix=folder,
        client=lambda: _client("s3", zones, _environment()),
        rights=UPLOADS,
        by_folder=zones.endpoint is None,
    )
    return ObjectStoreSink(store, bucket, StoreOverrides(clear=uploads.abort))


def session_for(zones: S3Zones, folder: str, name: str, seconds: int, *, deletes: bool = False) -> TemporaryCredentials:
    """A session of the role that reads and lists in the folder, and `deletes` if it may; raises `DeliveryError`.

    `name` is what the store's own log calls it. `seconds` is brought into what a store allows.
    """
    with _translating_errors(zones, f"the role {zones.role}"):
        given = _client("sts", zones, _environment()).assume_role(
            RoleArn=zones.role,
            RoleSessionName=name[:64],
            DurationSeconds=max(SHORTEST, min(LONGEST, seconds)),
            Policy=json.dumps(collecting_policy(zones, folder, deletes=deletes), separators=(",", ":")),
        )["Credentials"]
    return TemporaryCredentials(
        access_key_id=given["AccessKeyId"],
        secret_access_key=given["SecretAccessKey"],
        token=given["SessionToken"],
        expires_at=int(given["Expiration"].timestamp()),
    )


def collecting_policy(zones: S3Zones, folder: str, *, deletes: bool) -> dict[str, Any]:
    """What a session is limited to, whatever its role may do: objects below the folder, and the list of them."""
    partition = zones.role.split(":")[1] if zones.role.startswith("arn:aws") else "aws"
    bucket = f"arn:{partition}:s3:::{zones.bucket}"
    actions = ["s3:GetObject", "s3:DeleteObject"] if deletes else ["s3:GetObject"]
    # Nothing beside the folder has a name that begins with its own.
    within = {"StringLike": {"s3:prefix": [folder, f"{folder}/*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": f"{bucket}/{folder}/*"},
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, "Condition": within},
        ],
    }


def remove_unchanged(zones: S3Zones, key: str, before_ms: int) -> bool:
    """Remove an object, by its key in the bucket, unless it was written at the instant or later.

    It is looked at once more just before; Amazon, and any store that knows If-Match, also refuses to delete what was
    replaced in between.
    """
    with _translating_errors(zones, f"s3://{zones.bucket}/{key}", "delete"):
        client = _client("s3", zones, _environment())
        try:
            found = client.head_object(Bucket=zones.bucket, Key=key)
            if found["LastModified"].timestamp() * 1000 >= before_ms:
                return False
            client.delete_object(Bucket=zones.bucket, Key=key, IfMatch=found["ETag"])
        except client.exceptions.ClientError as error:
            if status_of(error) not in (404, 412):
                raise
            return False
    return True


class _Identity:
    """The server's own identity, as the driver asks for it: what the chain finds, fresh for ten more minutes."""

    def __init__(self) -> None:
        self.refusal: DeliveryError | None = None
        """Why there are no credentials, if there are none: the driver that calls would lose the reason."""

    def __call__(self) -> "S3Credential":
        """Credentials; raises `DeliveryError`."""
        self.refusal = None
        try:
            frozen = _own(_environment()).get_frozen_credentials()
        except DeliveryError as error:
            self.refusal = error
            raise
        except Exception as error:  # noqa: BLE001 - botocore's chain raises whatever its sources do
            self.refusal = _no_identity(f" ({type(error).__name__})")
            raise self.refusal from None
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            # botocore renews what ends sooner than this before it gives it.
            "expires_at": datetime.now(UTC) + _FRESH,
        }


@functools.lru_cache(maxsize=8)
def _own(_environment: Environment) -> Any:  # noqa: ANN401 - botocore has no types
    """What the chain finds, once a process and not once a part: its sources are asked over the network.

    Raises `DeliveryError` when it finds nothing, which is not remembered: a source may have been away.
    """
    from botocore.session import Session as Chain  # noqa: PLC0415 - an extra, and slow to import

    found = Chain().get_credentials()
    if found is None:
        raise _no_identity("")
    return found


def _environment() -> Environment:
    """What decides which identity the chain finds."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@functools.lru_cache(maxsize=8)
def _client(service: str, zones: S3Zones, environment: Environment) -> Any:  # noqa: ANN401 - made while botocore runs
    """The vendor's client, which takes a tenth of a second to make and renews its credentials by itself.

    Raises `DeliveryError` without an identity.
    """
    _own(environment)
    # Compatible stores give sessions where they keep objects; AWS_ENDPOINT_URL_STS names another place.
    elsewhere = service == "sts" and "AWS_ENDPOINT_URL_STS" in dict(environment)
    return make_client(
        service,
        zones.network,
        region=zones.region,
        endpoint=None if elsewhere else zones.endpoint,
        guarded=not elsewhere and zones.endpoint is not None,
    )


@contextmanager
def _translating_errors(zones: S3Zones, where: str, act: Act = "read") -> Iterator[None]:
    """Tell botocore's errors in our words."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore makes its classes of errors while it runs
        name, status = type(error).__name__, status_of(error)
        if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
            raise _no_identity(f" ({name})") from None
        code = code_of(error)
        if where.startswith("the role") and 400 <= status < 500:  # noqa: PLR2004 - what a client did wrong
            raise DeliveryError(
                "EXPORT-2001-403",
                f"The store's token service refused a session of {where} ({code}).",
                "Let the role of OFFTAKE_LANDING_ZONE_ROLE trust the server's identity, and that assume it.",
            ) from None
        said = f"status {status} <Code>{code}</Code>" if status else name
        refusal = RefusalError(said, pause_of(error))
        raise explain(refusal, where, zones.endpoint or "Amazon S3", act, RIGHTS, SETTINGS) from None


def _no_identity(said: str) -> DeliveryError:
    return DeliveryError(
        "EXPORT-2001-401",
        f"This server has no identity of its own at Amazon{said}, so it cannot use the landing zone's bucket.",
        "Give the server an instance role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )
