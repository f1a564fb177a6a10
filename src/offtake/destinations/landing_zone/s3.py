"""Landing zones in folders of an S3 bucket."""

import functools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from obstore.store import S3Store

from offtake.destinations.base import Entry
from offtake.destinations.drivers.aws_client import RIGHTS, UPLOADS, code_of, make_client, pause_of, status_of
from offtake.destinations.drivers.multipart_cleanup import UnfinishedUploads
from offtake.destinations.drivers.object_store import Bucket, ObjectStoreSink, StoreOverrides
from offtake.destinations.zones import CONTAINERS, SETTINGS, ZoneType
from offtake.errors import ACCESS_DENIED, CREDENTIALS_REFUSED, PLACE_NOT_FOUND, DeliveryError
from offtake.network.egress import Network
from offtake.network.object_clients import RETRIES, Endpoint, amazon_url, client_options, signed_at
from offtake.network.object_store_errors import Act, RefusalError, explain

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import S3Credential

Environment = tuple[tuple[str, str], ...]

SHORTEST: Final = 900
LONGEST: Final = 3600
"""Lifetime of a session, in seconds: Amazon's minimum, and its maximum when one role assumes another."""

_FRESH: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class TemporaryCredentials:
    """Temporary credentials of a consumer; `expires_at` in epoch seconds."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True)
class S3Zones:
    """Folders of a bucket: `<prefix>/<organisation>/<sandbox>/<container>`.

    `endpoint`: None for Amazon's own. `role`: the ARN of the role whose sessions, limited to one zone, consumers get.
    The server itself uses its own identity, as Amazon's credential chain finds it. `network`: its certificate
    authorities and read timeout apply; the operator chose the store, so that it may be in a private network.
    """

    bucket: str
    prefix: str
    role: str
    region: str = "us-east-1"
    endpoint: str | None = None
    network: Network = field(default_factory=Network)

    @property
    def endpoint_url(self) -> str:
        """The URL that requests go to, also those of consumers."""
        return self.endpoint or amazon_url(self.region)

    def of_organisation(self, organisation: str, *, is_first: bool) -> "S3Zones":
        """The same: the folders' names contain the organisation."""
        del organisation, is_first
        return self

    def zone(self, organisation: str, sandbox: str, kind: ZoneType) -> "S3Zone":
        """The folder of a sandbox."""
        return S3Zone(self, "/".join(part for part in (self.prefix, organisation, sandbox, CONTAINERS[kind]) if part))


@dataclass(frozen=True)
class S3Zone:
    """One folder of the bucket, without a slash at its ends. The bucket must exist."""

    zones: S3Zones
    folder: str

    @property
    def url(self) -> str:
        """The folder's `s3://` URL."""
        return f"s3://{self.zones.bucket}/{self.folder}"

    @property
    def local_folder(self) -> None:
        """None: the store serves consumers."""
        return

    def open(self) -> ObjectStoreSink:
        """The folder's sink; raises `DeliveryError` when the server has no identity."""
        zones, identity = self.zones, _Identity()
        identity()
        store = S3Store(
            zones.bucket,
            prefix=self.folder,
            region=zones.region,
            # Buckets with dots in their names, and compatible stores, need the path style.
            virtual_hosted_style_request=False,
            # Deleted one by one, a refusal names its object.
            disable_bulk_delete=True,
            client_options=client_options(
                zones.network, Endpoint(zones.endpoint_url, chosen=zones.endpoint is not None)
            ),
            retry_config=RETRIES,
            credential_provider=identity,
            config=signed_at(zones.endpoint_url),
        )
        bucket = Bucket(
            root=self.url,
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
            prefix=self.folder,
            client=lambda: _client("s3", zones, _environment()),
            rights=UPLOADS,
            by_folder=zones.endpoint is None,
        )
        return ObjectStoreSink(store, bucket, StoreOverrides(clear=uploads.abort))

    def create(self) -> None:
        """No-op: folders of a bucket are not created."""

    def children(self, folder: str) -> Sequence[Entry] | None:
        """What is directly in the folder."""
        try:
            return self.open().children(folder)
        except DeliveryError as error:
            if error.kind != PLACE_NOT_FOUND:
                raise
            return None

    def expire(self, before_ms: int) -> Iterator[int]:
        """Remove old objects, one per step."""
        for found in self.open().list(""):
            yield found.modified_ms < before_ms and self.remove_unchanged(found.key, before_ms)

    def empty(self) -> Iterator[None]:
        """Remove all objects. Sessions that consumers have end by themselves, within an hour."""
        sink = self.open()
        for found in sink.list(""):
            sink.delete(found.key)
            yield

    def new_session(self, name: str, seconds: int, *, deletes: bool = False) -> TemporaryCredentials:
        """A session of the role that reads and lists in the folder, and `deletes` if it may; raises `DeliveryError`.

        `name` appears in the store's own log. `seconds` is brought into the bounds that a store allows.
        """
        zones = self.zones
        with _translating_errors(zones, f"the role {zones.role}"):
            session = _client("sts", zones, _environment()).assume_role(
                RoleArn=zones.role,
                RoleSessionName=name[:64],
                DurationSeconds=max(SHORTEST, min(LONGEST, seconds)),
                Policy=json.dumps(self.session_policy(deletes=deletes), separators=(",", ":")),
            )["Credentials"]
        return TemporaryCredentials(
            access_key_id=session["AccessKeyId"],
            secret_access_key=session["SecretAccessKey"],
            token=session["SessionToken"],
            expires_at=int(session["Expiration"].timestamp()),
        )

    def session_policy(self, *, deletes: bool) -> dict[str, Any]:
        """The policy that limits a session, whatever its role may do: objects below the folder, and their list."""
        partition = self.zones.role.split(":")[1] if self.zones.role.startswith("arn:aws") else "aws"
        bucket = f"arn:{partition}:s3:::{self.zones.bucket}"
        actions = ["s3:GetObject", "s3:DeleteObject"] if deletes else ["s3:GetObject"]
        # No other folder has a name that begins with this one's.
        within = {"StringLike": {"s3:prefix": [self.folder, f"{self.folder}/*"]}}
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": actions, "Resource": f"{bucket}/{self.folder}/*"},
                {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, "Condition": within},
            ],
        }

    def remove_unchanged(self, key: str, before_ms: int) -> bool:
        """Remove an object unless it was written at `before_ms` or later; whether it was removed.

        Its time is read again just before. Amazon, and stores that implement If-Match, also refuse to delete an object
        that was replaced in between.
        """
        zones, path = self.zones, f"{self.folder}/{key}"
        with _translating_errors(zones, f"s3://{zones.bucket}/{path}", "delete"):
            client = _client("s3", zones, _environment())
            try:
                found = client.head_object(Bucket=zones.bucket, Key=path)
                if found["LastModified"].timestamp() * 1000 >= before_ms:
                    return False
                client.delete_object(Bucket=zones.bucket, Key=path, IfMatch=found["ETag"])
            except client.exceptions.ClientError as error:
                if status_of(error) not in (404, 412):
                    raise
                return False
        return True


class _Identity:
    """The server's own credentials for the driver, from Amazon's default credential chain; valid for ten minutes."""

    def __init__(self) -> None:
        self.refusal: DeliveryError | None = None
        """Why there are no credentials, kept because the driver does not pass the reason on."""

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
            # botocore renews credentials that expire sooner than this.
            "expires_at": datetime.now(UTC) + _FRESH,
        }


@functools.lru_cache(maxsize=8)
def _own(_environment: Environment) -> Any:  # noqa: ANN401 - botocore has no types
    """The credentials of the default chain, loaded once per process: its sources are on the network.

    Raises `DeliveryError` when it finds none; that is not cached, because a source may have been unavailable.
    """
    from botocore.session import Session as Chain  # noqa: PLC0415 - an extra, and slow to import

    found = Chain().get_credentials()
    if found is None:
        raise _no_identity("")
    return found


def _environment() -> Environment:
    """The variables that decide which identity the chain finds."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@functools.lru_cache(maxsize=8)
def _client(service: str, zones: S3Zones, environment: Environment) -> Any:  # noqa: ANN401 - botocore creates the class at run time
    """The vendor's client; cached, because it takes 0.1 seconds to create. It renews its credentials itself.

    Raises `DeliveryError` without an identity.
    """
    _own(environment)
    # Compatible stores serve STS at the store's endpoint, unless AWS_ENDPOINT_URL_STS names another one.
    elsewhere = service == "sts" and "AWS_ENDPOINT_URL_STS" in dict(environment)
    return make_client(
        service,
        zones.network,
        region=zones.region,
        endpoint=None if elsewhere else zones.endpoint,
        guarded=not elsewhere and zones.endpoint is not None,
    )


@contextmanager
def _translating_errors(zones: S3Zones, address: str, act: Act = "read") -> Iterator[None]:
    """Translate botocore's errors into `DeliveryError`."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore creates its error classes at run time
        name, status = type(error).__name__, status_of(error)
        if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
            raise _no_identity(f" ({name})") from None
        code = code_of(error)
        if address.startswith("the role") and 400 <= status < 500:  # noqa: PLR2004 - client errors
            raise DeliveryError(
                ACCESS_DENIED,
                f"The store's token service (STS) refused a session of {address} ({code}).",
                "Allow the server's identity to assume OFFTAKE_LANDING_ZONE_ROLE, also in the role's trust policy.",
            ) from None
        answer = f"status {status} <Code>{code}</Code>" if status else name
        refusal = RefusalError(answer, pause_of(error))
        raise explain(refusal, address, zones.endpoint or "Amazon S3", act, RIGHTS, SETTINGS) from None


def _no_identity(detail: str) -> DeliveryError:
    return DeliveryError(
        CREDENTIALS_REFUSED,
        f"This server has no AWS credentials of its own{detail}, so it cannot use the landing zone's bucket.",
        "Give the server an instance role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )
