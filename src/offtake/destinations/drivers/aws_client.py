"""The vendor's client (botocore) for S3 operations that the driver does not support. Requires `offtake[aws]`."""

import atexit
import functools
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offtake.network.egress import Network
from offtake.network.egress_proxy import proxy_url
from offtake.network.http import retry_after_of
from offtake.network.object_store_errors import RequiredPermissions

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import S3Credential

# At DEBUG it logs credentials from the token service.
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
) -> Any:  # noqa: ANN401 - botocore creates the class at run time
    """Create a client with path-style or virtual-hosted-style (`is_virtual`) addressing. It is thread-safe.

    `endpoint`: None for the vendor's own. `credential`: None for Amazon's default credential chain, which renews
    credentials itself. `guarded`: a user or a setting chose the endpoint, so that the network's rules apply.
    """
    from botocore.config import Config  # noqa: PLC0415 - an extra, and slow to import

    config = Config(
        connect_timeout=min(CONNECT_SECONDS, network.read_timeout),
        read_timeout=network.read_timeout,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={"addressing_style": "virtual" if is_virtual else "path"},
        proxies=dict.fromkeys(("http", "https"), proxy_url(network)) if guarded else None,
    )
    keys: dict[str, Any] = {}
    if credential is not None:
        keys["aws_access_key_id"] = credential["access_key_id"]
        keys["aws_secret_access_key"] = credential["secret_access_key"]
        keys["aws_session_token"] = credential.get("token")
    return _session(own=credential is None).create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        config=config,
        verify=_bundle(network.certificates) if network.certificates else None,
        **keys,
    )


def fixed(credential: "S3Credential") -> Callable[[], "S3Credential"]:
    """A credential provider that returns this credential only.

    If the keys were passed as options, the driver would add the session token of the server's own environment, and send
    it to a host that a user chose.
    """
    return lambda: credential


def status_of(error: Exception) -> int:
    """The HTTP status in an error of the client; 0 when there is none."""
    found: int = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return found


def code_of(error: Exception) -> str:
    """The store's error code; `""` when there is none."""
    found: str = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return found


def pause_of(error: Exception) -> float | None:
    """The store's Retry-After in seconds; None when there is none."""
    headers = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return retry_after_of(headers)


def _session(*, own: bool) -> Any:  # noqa: ANN401 - as above
    """A botocore session; a new one to look up the deployment's own identity, as the environment may have changed."""
    from botocore.session import Session  # noqa: PLC0415 - an extra, and slow to import

    return Session() if own else _shared_session()


@functools.lru_cache(maxsize=1)
def _shared_session() -> Any:  # noqa: ANN401 - as above
    """A session for explicit credentials. It caches service descriptions, so creating another client takes 3 ms."""
    from botocore.session import Session  # noqa: PLC0415 - an extra, and slow to import

    return Session()


@functools.lru_cache(maxsize=8)
def _bundle(certificates: bytes) -> str:
    """A file with botocore's authorities and these; botocore accepts a file only, and then trusts no others."""
    from botocore.httpsession import where  # noqa: PLC0415 - an extra, and slow to import

    handle, path = tempfile.mkstemp(suffix=".pem", prefix="offtake-")
    atexit.register(Path(path).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        file.write(Path(where()).read_bytes() + b"\n" + certificates)
    return path
