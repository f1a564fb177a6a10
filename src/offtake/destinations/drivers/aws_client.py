"""The vendor's own client of stores that speak Amazon's protocol, for what the driver cannot. Needs `offtake[aws]`."""

import atexit
import functools
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offtake.destinations.drivers.egress_proxy import proxy_url
from offtake.destinations.drivers.http import retry_after_of
from offtake.destinations.drivers.object_store_errors import RequiredPermissions
from offtake.destinations.egress import Network

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import S3Credential

# At DEBUG it logs what a token service gives.
logging.getLogger("botocore").setLevel(logging.WARNING)

CONNECT_SECONDS: Final = 10
_ATTEMPTS: Final = 3
UPLOADS: Final = "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload"
RIGHTS: Final = RequiredPermissions(
    write="s3:PutObject", read="s3:GetObject", list="s3:ListBucket", delete="s3:DeleteObject"
)


def make_client(
    service: str,
    network: Network,
    *,
    region: str,
    endpoint: str | None,
    credential: "S3Credential | None" = None,
    guarded: bool = False,
    is_virtual: bool = False,
) -> Any:  # noqa: ANN401 - made while botocore runs
    """A client that asks for objects in the path style, or with the bucket in the host's name. Threads may share it.

    `endpoint`: None for the vendor's own. `credential`: None for what Amazon's chain finds in the environment, which
    is renewed by itself. `guarded`: a user or a setting chose the endpoint, so that the network's rules judge it.
    """
    from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to import

    config = Config(
        connect_timeout=min(CONNECT_SECONDS, network.patience),
        read_timeout=network.patience,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={"addressing_style": "virtual" if is_virtual else "path"},
        proxies=dict.fromkeys(("http", "https"), proxy_url(network)) if guarded else None,
    )
    given: dict[str, Any] = {}
    if credential is not None:
        given["aws_access_key_id"] = credential["access_key_id"]
        given["aws_secret_access_key"] = credential["secret_access_key"]
        given["aws_session_token"] = credential.get("token")
    return _session(own=credential is None).create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        config=config,
        verify=_bundle(network.certificates) if network.certificates else None,
        **given,
    )


def fixed(credential: "S3Credential") -> Callable[[], "S3Credential"]:
    """A source of this credential and nothing else.

    Given by name, the driver would join to it the session token of the server's own environment, and send that to a
    host that a caller named.
    """
    return lambda: credential


def status_of(error: Exception) -> int:
    """The status of the answer that an error of the client tells of, 0 for none."""
    found: int = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return found


def code_of(error: Exception) -> str:
    """The store's word for what is wrong, `""` for none."""
    found: str = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return found


def pause_of(error: Exception) -> float | None:
    """Seconds after which the store wants to be asked again, None where it says nothing of that."""
    headers = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return retry_after_of(headers)


def _session(*, own: bool) -> Any:  # noqa: ANN401 - as above
    """One that looks for the deployment's own identity is made anew: the environment may have changed."""
    from botocore.session import Session  # noqa: PLC0415 - an extra, and slow to import

    return Session() if own else _shared_session()


@functools.lru_cache(maxsize=1)
def _shared_session() -> Any:  # noqa: ANN401 - as above
    """A session for given credentials. It keeps what it has read of the services: making a client takes 3 ms then."""
    from botocore.session import Session  # noqa: PLC0415 - an extra, and slow to import

    return Session()


@functools.lru_cache(maxsize=8)
def _bundle(certificates: bytes) -> str:
    """A file with the driver's authorities and these; it takes a file only, and then trusts no others."""
    from botocore.httpsession import where  # noqa: PLC0415 - an extra, and slow to import

    handle, path = tempfile.mkstemp(suffix=".pem", prefix="offtake-")
    atexit.register(Path(path).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        file.write(Path(where()).read_bytes() + b"\n" + certificates)
    return path
