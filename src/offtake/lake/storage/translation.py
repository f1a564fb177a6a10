"""Errors of the driver (obstore) when it reads. Runs in worker processes: PyIceberg is not imported."""

from collections.abc import Iterator
from contextlib import contextmanager

from offtake.errors import EXPORT_FAILED, SOURCE_UNAVAILABLE, DeliveryError


@contextmanager
def translating_errors(location: str) -> Iterator[None]:
    """Translates the driver's errors to `DeliveryError`; a missing file is a `FileNotFoundError`."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - slow to import; local lakes do without

    from offtake.network.object_store_errors import RequiredPermissions, explain, is_missing_root  # noqa: PLC0415

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and not is_missing_root(error):
            raise FileNotFoundError(f"{location[:300]} does not exist") from None
        rights = RequiredPermissions(*["the right to read objects (s3:GetObject, Storage Blob Data Reader)"] * 4)
        found = explain(error, location[:300], "The store", "read", rights, "the catalog")
        kind = SOURCE_UNAVAILABLE if found.transient else EXPORT_FAILED
        raise DeliveryError(kind, found.message, found.remedy, transient=found.transient) from None
