"""A landing zone in a container of an Azure storage account: the container, who may read it, and what leaves it."""

import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from offtake.destinations.base import SandboxLocation
from offtake.destinations.drivers.azure_account import RIGHTS, Account, account_of, azure_sink
from offtake.destinations.drivers.http import retry_after_of
from offtake.destinations.drivers.object_store import ObjectStoreSink
from offtake.destinations.drivers.object_store_errors import Act, RefusalError, explain
from offtake.destinations.zones import SETTINGS, AzureZones
from offtake.errors import DeliveryError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

POLICY: Final = "dlz-"
"""What the names of this project's stored access policies begin with; others are left as they are."""

LONGEST: Final = 3600
"""How long signatures may last, in seconds: of a client that is removed, they end no sooner."""

_TURNS: Final = 20
_PAUSE: Final = 0.05
_MOST: Final = 5
_WRONG_KEY: Final = "failed to authenticate the request"


def account(zones: AzureZones) -> Account:
    """The account, which has a key; raises `ValueError` for a connection string that names none."""
    found = account_of(zones.connection_string.get_secret_value())
    if found.key is None:
        raise ValueError("must have an AccountKey: signatures are made with it")
    return found


def open_container(zones: AzureZones, container: str) -> ObjectStoreSink:
    """The container's sink; of the account, nothing is asked yet."""
    site = SandboxLocation("", zones, network=zones.network)
    return azure_sink(account(zones), container, RIGHTS, site, keeper=SETTINGS)


def make_container(zones: AzureZones, container: str) -> None:
    """Make the container when it is not there; raises `DeliveryError`."""
    from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - an extra, and slow to import

    with _client(zones, container, "write") as client:
        try:
            client.create_container()
        except ResourceExistsError as error:
            # One that is being deleted is in the way as well, but for a while only.
            if _code(error) != "ContainerAlreadyExists":
                raise


def keep_policies(zones: AzureZones, container: str, wanted: Callable[[], Mapping[str, bool]]) -> None:
    """Let this project's policies of a container that is there be the `wanted` ones: names, and whether they delete.

    It is asked again after each change: of several servers that do this at once, the last one sees what all of them
    want. All policies read and list, and have no end, for signatures say theirs; removing one ends what names it.

    Raises `DeliveryError`.
    """
    from azure.storage.blob import AccessPolicy, ContainerSasPermissions  # noqa: PLC0415 - an extra, slow to import

    with _client(zones, container, "write") as client:
        for turn in range(_TURNS):
            # Others who are at it too are not met again at the same moment.
            time.sleep(random.uniform(0, turn * _PAUSE))  # noqa: S311 - chance, no secret
            there = client.get_container_access_policy()["signed_identifiers"]
            kept = {one.id: one.access_policy for one in there if not one.id.startswith(POLICY)}
            ours = {
                name: AccessPolicy(permission=ContainerSasPermissions(read=True, list=True, delete=deletes))
                for name, deletes in wanted().items()
            }
            if len(kept) + len(ours) > _MOST:
                raise DeliveryError(
                    "EXPORT-2001-403",
                    f"The container {container} has {len(kept)} access policies that are not this server's, "
                    "which leaves no room for its own.",
                    "Remove one of them.",
                )
            if {one.id for one in there} - set(kept) == set(ours):
                return
            client.set_container_access_policy(kept | ours)
    raise DeliveryError(
        "EXPORT-2003-504", f"The access policies of {container} keep changing.", "Try again.", transient=True
    )


def signature(zones: AzureZones, container: str, policy: str, expires_at: int) -> str:
    """A shared access signature that the policy gives its rights, as a query string; it ends with that, if not before.

    `expires_at` in epoch milliseconds.
    """
    from azure.storage.blob import generate_container_sas  # noqa: PLC0415 - an extra, and slow to import

    owner = account(zones)
    protocol = "https" if owner.endpoint.startswith("https:") else None
    return generate_container_sas(
        owner.name,
        container,
        account_key=owner.key or "",
        policy_id=policy,
        expiry=datetime.fromtimestamp(expires_at / 1000, UTC),
        protocol=protocol,
    )


@contextmanager
def sweeper(zones: AzureZones, container: str, before_ms: int) -> Iterator[Callable[[str], bool]]:
    """Removes a blob by its name, unless it was written at the instant or later: the service itself sees to that.

    It says whether it did, and raises `DeliveryError`.
    """
    from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - an extra, and slow to import

    # The service knows seconds only, and the condition holds in the second it names too.
    last = datetime.fromtimestamp(before_ms // 1000 - 1, UTC)
    with _client(zones, container, "delete") as client:

        def remove(key: str) -> bool:
            try:
                client.delete_blob(key, if_unmodified_since=last)
            except HttpResponseError as error:
                if error.status_code not in (404, 412):
                    raise
                return False
            return True

        yield remove


@contextmanager
def _client(zones: AzureZones, container: str, act: Act) -> Iterator["ContainerClient"]:
    """The vendor's client of the container, its errors told in our words."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - an extra, and slow to import
    from azure.storage.blob import ContainerClient, LinearRetry  # noqa: PLC0415 - as above

    owner = account(zones)
    retries = LinearRetry(backoff=1, retry_total=3, random_jitter_range=1)
    options: dict[str, Any] = {
        "connection_timeout": min(10, zones.network.patience),
        "read_timeout": zones.network.patience,
        "retry_policy": retries,
        "permit_redirects": False,
    }
    endpoint = urlsplit(owner.endpoint)
    zones.network.resolve(endpoint.hostname or "", endpoint.port or 443)
    if zones.network.certificates is not None:
        options["transport"] = _with_certificates(zones.network.certificates)
    credential = {"account_name": owner.name, "account_key": owner.key or ""}
    try:
        with ContainerClient(owner.endpoint, container, credential=credential, **options) as client:
            yield client
    except AzureError as error:
        status = getattr(error, "status_code", None)
        said = f"status {status} <Code>{_code(error)}</Code>" if status else type(error).__name__
        # Of the service's own text this much tells a wrong key from a missing right.
        said += f" {_WRONG_KEY}" if _WRONG_KEY in str(error) else ""
        where = f"{owner.endpoint}/{container}"
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        refusal = RefusalError(said, retry_after_of(headers))
        raise explain(refusal, where, endpoint.netloc, act, RIGHTS, SETTINGS) from None


def _code(error: Exception) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _with_certificates(certificates: bytes) -> Any:  # noqa: ANN401 - a transport of the extra
    """The vendor's transport, which can only be told of authorities in a file, and then trusts no others."""
    from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415 - an extra, and slow to import
    from requests import Session  # noqa: PLC0415 - comes with the extra
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - as above

    context = ssl.create_default_context()
    context.load_verify_locations(cadata=certificates.decode())

    class Trusting(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the class above has them
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    session = Session()
    session.mount("https://", Trusting())
    return RequestsTransport(session=session)
