"""Landing zones in containers of an Azure storage account."""

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from offtake.destinations.base import Entry
from offtake.destinations.drivers.azure_account import RIGHTS, Account, account_of, azure_sink
from offtake.destinations.drivers.object_store import ObjectStoreSink
from offtake.destinations.zones import CONTAINERS, SETTINGS, ZoneType
from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, PLACE_NOT_FOUND, DeliveryError
from offtake.network.egress import Network
from offtake.network.http import retry_after_of, verifying_context
from offtake.network.object_store_errors import Act, RefusalError, explain

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

POLICY: Final = "dlz-"
"""Prefix of the names of this project's stored access policies; others are left as they are."""

LONGEST: Final = 3600
"""Longest lifetime of a signature, in seconds: the signatures of a removed client end no sooner."""

_SLUG: Final = 20
_HASH: Final = 12
_TURNS: Final = 20
_PAUSE: Final = 0.05
_MOST: Final = 5
_WRONG_KEY: Final = "failed to authenticate the request"


@dataclass(frozen=True)
class AzureZones:
    """Containers of a storage account.

    `connection_string`: with the account's key, which signs for consumers. `prefix`: of the containers' names.
    `network`: its certificate authorities and read timeout apply; the operator chose the account, so that it may be in
    a private network.
    """

    connection_string: SecretStr
    prefix: str = ""
    network: Network = field(default_factory=Network)

    @property
    def account(self) -> Account:
        """The account, which has a key; raises `ValueError` for a connection string that has none."""
        found = account_of(self.connection_string.get_secret_value())
        if found.key is None:
            raise ValueError("must have an AccountKey: signatures are made with it")
        return found

    def of_organisation(self, organisation: str, *, is_first: bool) -> "AzureZones":
        """The same: the names of containers depend on the organisation."""
        del organisation, is_first
        return self

    def zone(self, organisation: str, sandbox: str, kind: ZoneType) -> "AzureZone":
        """The container of a sandbox, by a name that Azure takes: at most 63 letters, digits and single hyphens.

        Names of sandboxes may be longer, and equal in two organisations; a hash keeps them apart.
        """
        slug = re.sub("-+", "-", sandbox)[:_SLUG].strip("-")
        digest = hashlib.sha256(f"{organisation}\n{sandbox}".encode()).hexdigest()[:_HASH]
        return AzureZone(self, "-".join(part for part in (self.prefix, CONTAINERS[kind], slug, digest) if part))


@dataclass(frozen=True)
class AzureZone:
    """One container. It is created when something is written to it, or when credentials are issued."""

    zones: AzureZones
    container: str

    @property
    def url(self) -> str:
        """The container's name."""
        return f"container {self.container}"

    @property
    def local_folder(self) -> None:
        """None: Azure serves consumers."""
        return

    def open(self) -> ObjectStoreSink:
        """The container's sink."""
        return azure_sink(self.zones.account, self.container, RIGHTS, self.zones.network, keeper=SETTINGS)

    def create(self) -> None:
        """Create the container when it is missing."""
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - an extra, and slow to import

        with _client(self, "write") as client:
            try:
                client.create_container()
            except ResourceExistsError as error:
                # A container that is being deleted is in the way too, but only for a while.
                if _code(error) != "ContainerAlreadyExists":
                    raise

    def children(self, folder: str) -> Sequence[Entry] | None:
        """What is directly in the folder."""
        try:
            return self.open().children(folder)
        except DeliveryError as error:
            if error.kind != PLACE_NOT_FOUND:
                raise
            return None if folder else ()

    def expire(self, before_ms: int) -> Iterator[int]:
        """Remove old blobs, one per step. The service itself refuses to remove one that was written since."""
        with _ignoring_missing_container(), _client(self, "delete") as client:
            for found in self.open().list(""):
                yield found.modified_ms < before_ms and _delete_unchanged(client, found.key, before_ms)

    def remove_unchanged(self, key: str, before_ms: int) -> bool:
        """Remove one blob unless it was written at the instant or later; whether it was removed."""
        with _client(self, "delete") as client:
            return _delete_unchanged(client, key, before_ms)

    def empty(self) -> Iterator[None]:
        """Remove all blobs, after this project's access policies."""
        with _ignoring_missing_container():
            self.set_policies(dict)
            sink = self.open()
            for found in sink.list(""):
                sink.delete(found.key)
                yield

    def set_policies(self, policies: Callable[[], Mapping[str, bool]]) -> None:
        """Set this project's stored access policies: `policies` returns, by name, whether each allows deleting.

        It is called again after each change, so that of several concurrent servers the last one applies the current
        state. All policies read and list. They have no end of their own, signatures do; removing a policy
        ends the signatures that name it.

        Raises `DeliveryError`.
        """
        from azure.storage.blob import AccessPolicy, ContainerSasPermissions  # noqa: PLC0415 - an extra, slow to import

        with _client(self, "write") as client:
            for turn in range(_TURNS):
                # Random, so that concurrent servers do not collide again.
                time.sleep(random.uniform(0, turn * _PAUSE))  # noqa: S311 - jitter, not a secret
                present = client.get_container_access_policy()["signed_identifiers"]
                others = {one.id: one.access_policy for one in present if not one.id.startswith(POLICY)}
                ours = {
                    name: AccessPolicy(permission=ContainerSasPermissions(read=True, list=True, delete=deletes))
                    for name, deletes in policies().items()
                }
                if len(others) + len(ours) > _MOST:
                    raise DeliveryError(
                        ACCESS_DENIED,
                        f"The container {self.container} has {len(others)} access policies that are not this "
                        f"server's. Azure "
                        "allows five in total, so this server cannot add its own.",
                        "Remove one of them.",
                    )
                if {one.id for one in present} - set(others) == set(ours):
                    return
                client.set_container_access_policy(others | ours)
        raise DeliveryError(
            DESTINATION_UNAVAILABLE,
            f"Other servers keep changing the access policies of {self.container}.",
            "Retry the request.",
        )

    def sign(self, policy: str, expires_at: int) -> str:
        """A shared access signature, as a query string, with the rights of the policy; it ends with the policy.

        `expires_at` in epoch milliseconds.
        """
        from azure.storage.blob import generate_container_sas  # noqa: PLC0415 - an extra, and slow to import

        owner = self.zones.account
        protocol = "https" if owner.endpoint.startswith("https:") else None
        return generate_container_sas(
            owner.name,
            self.container,
            account_key=owner.key or "",
            policy_id=policy,
            expiry=datetime.fromtimestamp(expires_at / 1000, UTC),
            protocol=protocol,
        )


def _delete_unchanged(client: "ContainerClient", key: str, before_ms: int) -> bool:
    from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - an extra, and slow to import

    # The service compares whole seconds, and the condition holds in that second too.
    last = datetime.fromtimestamp(before_ms // 1000 - 1, UTC)
    try:
        client.delete_blob(key, if_unmodified_since=last)
    except HttpResponseError as error:
        if error.status_code not in (404, 412):
            raise
        return False
    return True


@contextmanager
def _ignoring_missing_container() -> Iterator[None]:
    try:
        yield
    except DeliveryError as error:
        if error.kind != PLACE_NOT_FOUND:
            raise


@contextmanager
def _client(zone: AzureZone, act: Act) -> Iterator["ContainerClient"]:
    """The vendor's client of the container; translates its errors."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - an extra, and slow to import
    from azure.storage.blob import ContainerClient, LinearRetry  # noqa: PLC0415 - as above

    owner, network = zone.zones.account, zone.zones.network
    retries = LinearRetry(backoff=1, retry_total=3, random_jitter_range=1)
    options: dict[str, Any] = {
        "connection_timeout": min(10, network.read_timeout),
        "read_timeout": network.read_timeout,
        "retry_policy": retries,
        "permit_redirects": False,
    }
    endpoint = urlsplit(owner.endpoint)
    network.resolve(endpoint.hostname or "", endpoint.port or 443)
    if network.certificates is not None:
        options["transport"] = _with_certificates(network.certificates)
    credential = {"account_name": owner.name, "account_key": owner.key or ""}
    try:
        with ContainerClient(owner.endpoint, zone.container, credential=credential, **options) as client:
            yield client
    except AzureError as error:
        status = getattr(error, "status_code", None)
        answer = f"status {status} <Code>{_code(error)}</Code>" if status else type(error).__name__
        # This part of the service's text distinguishes a wrong key from a missing permission.
        answer += f" {_WRONG_KEY}" if _WRONG_KEY in str(error) else ""
        place = f"{owner.endpoint}/{zone.container}"
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        refusal = RefusalError(answer, retry_after_of(headers))
        raise explain(refusal, place, endpoint.netloc, act, RIGHTS, SETTINGS) from None


def _code(error: Exception) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _with_certificates(certificates: bytes) -> Any:  # noqa: ANN401 - a transport of the extra
    """The vendor's HTTP transport with additional authorities, which it would otherwise only load from a file."""
    from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415 - an extra, and slow to import
    from requests import Session  # noqa: PLC0415 - comes with the extra
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - as above

    context = verifying_context(certificates)

    class Trusting(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the class above has them
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    session = Session()
    session.mount("https://", Trusting())
    return RequestsTransport(session=session)
