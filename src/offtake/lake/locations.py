"""Resolving the locations of tables' files, in settings, catalogs and metadata alike.

A location is taken literally, as in PyIceberg and Hadoop: nothing is percent-decoded, and `#` and `?` are ordinary
characters. `file:///x/city=Z%C3%BCrich/a.parquet` is in a folder named `city=Z%C3%BCrich`, because writers escape
partition values in folder names.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.fs as pafs

from offtake.errors import OfftakeError

_REMOTE: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)
_LOCAL: Final = re.compile("file:(?://(?:localhost(?=/))?)?(.*)", re.DOTALL | re.IGNORECASE)
_SAME_STORE: Final = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
_STORES: Final = frozenset(("s3", "gs", "abfs", "abfss", "hdfs", "viewfs"))


class LocationError(OfftakeError):
    """A location with an unsupported or invalid form."""


def split(location: str) -> tuple[str, str, str]:
    """The scheme, the host (bucket or server) and the path; the scheme of local files is `file`.

    Raises `LocationError` for unsupported schemes, and for `file:` with a host name or a relative path.
    """
    if local := _LOCAL.fullmatch(location):
        if not local[1].startswith("/"):
            raise LocationError(
                f"The location {location} is not a path on this machine. Use file:// and an absolute path."
            )
        return "file", "", local[1]
    remote = _REMOTE.fullmatch(location)
    if remote is None:
        return "file", "", location
    scheme, host, path = remote.groups()
    scheme = _SAME_STORE.get(scheme.lower(), scheme.lower())
    if scheme not in _STORES:
        raise LocationError(
            f"The location {location} has the unsupported scheme {scheme}. "
            f"Supported: plain paths, file, {', '.join(sorted(_STORES))}."
        )
    return scheme, host, path


def is_local(location: str) -> bool:
    """Whether the location is a path or a `file:` URI."""
    return split(location)[0] == "file"


def local_path(location: str) -> Path:
    """The path of a `file:` URI or of a plain path. For other schemes, a path that does not exist.

    Raises `LocationError` as `split` does.
    """
    scheme, _, path = split(location)
    return Path(path if scheme == "file" else location)


def file_system(location: str) -> tuple[pafs.FileSystem, str]:
    """The file system of the location, and the file's path in it. Raises `LocationError` as `split` does."""
    scheme, host, path = split(location)
    if scheme == "file":
        return pafs.LocalFileSystem(), path
    store, root = _store(scheme, host)
    return store, f"{root.rstrip('/')}{path}"


@lru_cache(maxsize=16)
def _store(scheme: str, host: str) -> tuple[pafs.FileSystem, str]:
    try:
        # Without the path, which Arrow would percent-decode.
        store, root = pafs.FileSystem.from_uri(f"{scheme}://{host}/")
    except pa.ArrowInvalid as error:
        raise LocationError(f"The store {scheme}://{host} cannot be opened: {error}.") from None
    return store, root
