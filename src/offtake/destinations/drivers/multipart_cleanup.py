"""Multipart uploads that were never completed, at stores that speak Amazon's protocol: found and aborted.

The driver can neither list them nor abort another's. Without the vendor's client, or without the rights to it, they
stay until a life-cycle rule of the bucket removes them.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from offtake.destinations.base import Driver
from offtake.destinations.drivers.aws_client import code_of, pause_of, status_of
from offtake.destinations.drivers.http import TRIED_AGAIN
from offtake.destinations.drivers.object_store_errors import RefusalError
from offtake.errors import DeliveryError

DRIVER: Final = Driver("botocore", "aws")
AT_ONCE: Final = (
    f"A server that is killed leaves the parts of its uploads behind, which nobody sees and which cost money. With "
    f"`offtake[{DRIVER.extra}]` and these rights, whoever takes the run over removes them at once, and a server that "
    "was only slow cannot complete its upload any more. Without, have a life-cycle rule of the bucket abort incomplete "
    "uploads after a day."
)

_log = logging.getLogger(__name__)
_GONE: Final = 404
_UNKNOWN: Final = 501
_PASSING: Final = ("ExpiredToken", "TokenRefreshRequired", "RequestTimeout")
_AT_ONCE: Final = 8


@dataclass
class UnfinishedUploads:
    """Those of a bucket. `root`: its address as people write it; `prefix`: what the keys are below, `""` for nothing.

    `client`: the vendor's client of the bucket's store. `rights`: what its owner has to grant for this.
    `by_folder`: whether the store lists all uploads whose keys begin alike. MinIO, for one, lists only those of the
    very key that it is asked for (minio/minio issue 20989).
    """

    root: str
    bucket: str
    prefix: str
    client: Callable[[], Any]
    rights: str
    by_folder: bool
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _told: bool = False

    def abort(self, keys: Collection[str]) -> int:
        """Abort the uploads of these keys; how many. Raises `RefusalError` where the store is away."""
        if not DRIVER.installed:
            self._log_refusal(f"offtake[{DRIVER.extra}] is not installed")
            return 0
        wanted = {f"{self.prefix}/{key}" if self.prefix else key for key in keys}
        from botocore import exceptions  # noqa: PLC0415 - an extra, and slow to import

        try:
            client = self.client()
            return sum(self._abort_upload(client, key, upload) for key, upload in set(self._of(client, wanted)))
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise RefusalError(type(error).__name__) from None
        except DeliveryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the client makes of an answer, no delivery may fail of it
            status, code = status_of(error), code_of(error)
            if _is_transient(status, code):
                raise RefusalError(f"status {status} <Code>{code}</Code>", pause_of(error)) from None
            if status != _GONE:  # no bucket, or none that ever had an upload
                self._log_refusal(code or (f"status {status}" if status else type(error).__name__))
        return 0

    def _of(self, client: Any, wanted: Collection[str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - as `client`
        folders = {key[: key.rfind("/") + 1] for key in wanted}
        pages = client.get_paginator("list_multipart_uploads")

        def found(prefix: str) -> list[tuple[str, str]]:
            uploads = (
                one for page in pages.paginate(Bucket=self.bucket, Prefix=prefix) for one in page.get("Uploads", ())
            )
            return [(one["Key"], one["UploadId"]) for one in uploads if one["Key"] in wanted]

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for uploads in threads.map(found, folders if self.by_folder and len(folders) < len(wanted) else wanted):
                yield from uploads

    def _abort_upload(self, client: Any, key: str, upload: str) -> bool:  # noqa: ANN401 - as above
        try:
            client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
        except client.exceptions.ClientError as error:
            if status_of(error) != _GONE:
                raise
            return False  # its writer has completed or aborted it meanwhile
        return True

    def _log_refusal(self, why: str) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            _log.warning(
                "unfinished uploads in %s cannot be removed (%s); grant %s, or have a life-cycle rule abort them",
                self.root,
                why,
                self.rights,
            )


def _is_transient(status: int, code: str) -> bool:
    """Whether the refusal is worth trying again."""
    wrong_there = status >= 500 and status != _UNKNOWN  # noqa: PLR2004 - the statuses of what a server did wrong
    return wrong_there or status in TRIED_AGAIN or code in _PASSING
