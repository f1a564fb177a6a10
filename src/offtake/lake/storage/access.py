"""Which files a table may name, and how they are opened: a table chooses neither the store nor the credentials."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from offtake.lake import locations
from offtake.lake.locations import LocationError
from offtake.network.egress import Network

Kind = Literal["s3", "gs", "azure", "folder"]
_KIND_OF: Final[Mapping[str, Kind]] = {
    "s3": "s3",
    "gs": "gs",
    "abfs": "azure",
    "abfss": "azure",
    "wasb": "azure",
    "wasbs": "azure",
}
_ACCOUNT_MARK: Final = "@"
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,254}")
"""Buckets of Amazon and Google, and containers of Azure, of which some begin with $."""
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
"""https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name"""


@dataclass(frozen=True)
class FileAccess:
    """How the files of one table are opened. Worker processes get it with each part.

    `kind`: the only kind of store that is read. `properties`: by PyIceberg's names, of the catalog and the credentials
    that it lent for this table; never of the table's own. `folder`: for kind `folder`, the only one that is read.
    `closed`: locations of this deployment, which no table may name. `expires_ms`: when the credentials expire;
    `renewal` asks for new ones. `root`: of the deployment's own lake or uploads, the only folder that is written, and
    of which files are deleted; None for tables of others, which are read-only.
    """

    kind: Kind
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    network: Network = field(default_factory=Network, repr=False)
    folder: str | None = None
    closed: tuple[str, ...] = ()
    expires_ms: int | None = None
    renewal: "Callable[[], FileAccess] | None" = field(default=None, repr=False, compare=False)
    root: str | None = None

    def __hash__(self) -> int:
        """Accesses are keys of caches; a mapping has no hash of its own."""
        return hash((self.kind, tuple(sorted(self.properties.items())), self.folder, self.expires_ms, self.root))


@dataclass(frozen=True)
class Place:
    """A file in an object store. `bucket`: the bucket or container; `account`: of Azure, from the location's host."""

    bucket: str
    key: str
    account: str | None = None


def place_of(access: FileAccess, location: str) -> Place:
    """The file's place in the store.

    Raises `LocationError` for another kind of store, without a key, and inside this deployment's own locations.
    """
    kind, place = _place(location)
    if kind != access.kind:
        raise _elsewhere(access, location)
    if not place.bucket or not place.key:
        raise LocationError(f"The location {location[:300]} does not name a file.")
    if any(is_inside(access, location, one) for one in access.closed):
        raise LocationError(f"The file {location[:300]} is in this deployment's own storage, which it may not read.")
    return place


def kind_of(location: str) -> Kind | None:
    """The kind of store of the location; None for files of this machine, and for stores that are not supported."""
    return _place(location)[0]


def place_in(location: str) -> Place:
    """The place in a store of any kind; a folder may be the bucket itself. Raises `LocationError`."""
    return _place(location)[1]


def is_inside(access: FileAccess, location: str, folder: str) -> bool:
    """Whether the object is below the folder, both in a store of the access's kind."""
    (kind, place), (folders_kind, root) = _place(location), _place(folder)
    if kind != access.kind or folders_kind != access.kind or place.bucket != root.bucket:
        return False
    prefix = root.key.rstrip("/")
    return not prefix or place.key.rstrip("/") == prefix or place.key.startswith(f"{prefix}/")


def _place(location: str) -> tuple[Kind | None, Place]:
    scheme, host, path = locations.split(location)
    kind = _KIND_OF.get(scheme)
    bucket, account = host, None
    if kind == "azure":
        bucket, mark, server = host.partition(_ACCOUNT_MARK)
        account = server.partition(".")[0] if mark else None
    key = path.removeprefix("/")
    if kind is not None:
        _check_names(location, bucket, account, key)
    return kind, Place(bucket, key, account)


def _check_names(location: str, bucket: str, account: str | None, key: str) -> None:
    """Raise `LocationError` for names that a store does not have: a driver could read them as another place or host."""
    names_fit = _BUCKET.fullmatch(bucket) and (account is None or _ACCOUNT.fullmatch(account))
    if not names_fit or ".." in bucket or any(step in ("", ".", "..") for step in key.rstrip("/").split("/") if key):
        raise LocationError(f"The location {location[:300]} has a name that no store has.")


def path_of(access: FileAccess, location: str) -> Path:
    """The file's path on this machine. Raises `LocationError` outside of the catalog's folder.

    Links are followed before the check, so that a link in the folder cannot lead out of it.
    """
    if access.kind != "folder" or access.folder is None or not locations.is_local(location):
        raise _elsewhere(access, location)
    path = locations.local_path(location).resolve()
    if not path.is_relative_to(Path(access.folder).resolve()):
        raise LocationError(f"The file {path} is outside of the catalog's folder {access.folder}.")
    if any(path.is_relative_to(Path(one).resolve()) for one in access.closed if locations.is_local(one)):
        raise LocationError(f"The file {path} is in a folder of this deployment, which no registered table may read.")
    return path


def _elsewhere(access: FileAccess, location: str) -> LocationError:
    return LocationError(
        f"The location {location[:300]} is not in the store of its catalog ({_NAMES[access.kind]}). "
        "A table's files are read only there, with the catalog's own credentials."
    )


_NAMES: Final[Mapping[Kind, str]] = {
    "s3": "Amazon S3 or compatible",
    "gs": "Google Cloud Storage",
    "azure": "Azure storage",
    "folder": "a folder of this machine",
}
