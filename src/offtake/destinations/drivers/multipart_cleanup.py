"""Finds and aborts multipart uploads that were never completed, at S3-compatible stores.

The driver cannot list uploads or abort those of other processes. Without the vendor's client, or without the
permissions, they remain until a life-cycle rule of the bucket removes them.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from offtake.destinations.base import Driver
from offtake.destinations.drivers.aws_client import code_of, pause_of, status_of
from offtake.errors import DeliveryError
from offtake.network.http import TRIED_AGAIN
from offtake.network.object_store_errors import RefusalError

DRIVER: Final = Driver("botocore", "aws")
AT_ONCE: Final = (
    f"A server that is killed leaves invisible parts of its uploads, which cost money. With `offtake[{DRIVER.extra}]` "
    "and these permissions, the next worker of the run removes them immediately, and a slow server can no longer "
    "complete its upload. Without them, add a life-cycle rule to the bucket that aborts incomplete uploads after a day."
)

_log = logging.getLogger(__name__)
_GONE: Final = 404
_UNKNOWN: Final = 501
_PASSING: Final = ("ExpiredToken", "TokenRefreshRequired", "RequestTimeout")
_AT_ONCE: Final = 8


@dataclass
class UnfinishedUploads:
    """Unfinished uploads of a bucket. `root`: its URL for users; `prefix`: the folder of all keys (`""`: none).

    `client`: creates the vendor's client. `rights`: the permissions that this needs. `by_folder`: whether the store
    lists uploads by key prefix. MinIO, for example, lists only those of an exact key (minio/minio issue 20989).
    """

    root: str
    bucket: str
    prefix: str
    client: Callable[[], Any]
    rights: str
    by_folder: bool
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _logged: bool = False

    def abort(self, keys: Collection[str]) -> int:
        """Abort the uploads of these keys; returns their number. Raises `RefusalError` during an outage."""
        if not DRIVER.installed:
            self._log_refusal(f"offtake[{DRIVER.extra}] is not installed")
            return 0
        full_keys = {f"{self.prefix}/{key}" if self.prefix else key for key in keys}
        from botocore import exceptions  # noqa: PLC0415 - an extra, and slow to import

        try:
            client = self.client()
            return sum(self._abort_upload(client, key, upload) for key, upload in set(self._of(client, full_keys)))
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise RefusalError(type(error).__name__) from None
        except DeliveryError:
            raise
        except Exception as error:  # noqa: BLE001 - no unexpected error of the client may fail a delivery
            status, code = status_of(error), code_of(error)
            if _is_transient(status, code):
                raise RefusalError(f"status {status} <Code>{code}</Code>", pause_of(error)) from None
            if status != _GONE:  # no bucket, or no uploads
                self._log_refusal(code or (f"status {status}" if status else type(error).__name__))
        return 0

    def _of(self, client: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - as `client`
        folders = {key[: key.rfind("/") + 1] for key in keys}
        pages = client.get_paginator("list_multipart_uploads")

        def found(prefix: str) -> list[tuple[str, str]]:
            uploads = (
                one for page in pages.paginate(Bucket=self.bucket, Prefix=prefix) for one in page.get("Uploads", ())
            )
            return [(one["Key"], one["UploadId"]) for one in uploads if one["Key"] in keys]

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for uploads in threads.map(found, folders if self.by_folder and len(folders) < len(keys) else keys):
                yield from uploads

    def _abort_upload(self, client: Any, key: str, upload: str) -> bool:  # noqa: ANN401 - as above
        try:
            client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
        except client.exceptions.ClientError as error:
            if status_of(error) != _GONE:
                raise
            return False  # its writer completed or aborted it meanwhile
        return True

    def _log_refusal(self, why: str) -> None:
        with self._lock:
            logged, self._logged = self._logged, True
        if not logged:
            _log.warning(
                "unfinished uploads in %s cannot be removed (%s); grant %s, or add a life-cycle rule that aborts them",
                self.root,
                why,
                self.rights,
            )


def _is_transient(status: int, code: str) -> bool:
    """Whether a retry can succeed."""
    wrong_there = status >= 500 and status != _UNKNOWN  # noqa: PLR2004 - server errors
    return wrong_there or status in TRIED_AGAIN or code in _PASSING
