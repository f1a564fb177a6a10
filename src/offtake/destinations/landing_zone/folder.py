"""Landing zones in folders of this machine: `<sandbox>` and `user_drop_zone/<sandbox>` below a root."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offtake.destinations.base import Entry
from offtake.destinations.drivers.local_folder import LocalFolderSink
from offtake.destinations.landing_zone import files
from offtake.destinations.zones import ZoneType
from offtake.errors import DeliveryError


@dataclass(frozen=True)
class FolderZones:
    """The folders of one organisation. The first organisation has the root, the others a folder named by their id."""

    root: Path

    def of_organisation(self, organisation: str, *, is_first: bool) -> "FolderZones":
        """The organisation's folders."""
        return self if is_first else FolderZones(self.root / organisation)

    def zone(self, organisation: str, sandbox: str, kind: ZoneType) -> "FolderZone":
        """The folder of a sandbox. No sandbox is named like the folder that holds the drop zones."""
        del organisation
        return FolderZone(self.root / sandbox if kind == "dlz_destination" else self.root / kind / sandbox)


@dataclass(frozen=True)
class OneFolder(FolderZones):
    """The same folder for every sandbox: of a deployment that delivers once, and is removed afterwards."""

    def of_organisation(self, organisation: str, *, is_first: bool) -> "OneFolder":
        """The folder."""
        del organisation, is_first
        return self

    def zone(self, organisation: str, sandbox: str, kind: ZoneType) -> "FolderZone":
        """The folder."""
        del organisation, sandbox, kind
        return FolderZone(self.root)


@dataclass(frozen=True)
class FolderZone:
    """One folder."""

    folder: Path

    @property
    def url(self) -> str:
        """The folder's path."""
        return str(self.folder)

    @property
    def local_folder(self) -> Path:
        """The folder."""
        return self.folder

    def open(self) -> LocalFolderSink:
        """The folder's sink, which creates folders when it writes."""
        return LocalFolderSink(self.folder)

    def create(self) -> None:
        """No-op: the sink creates the folder."""

    def children(self, folder: str) -> Sequence[Entry] | None:
        """What is directly in the folder."""
        try:
            return self.open().children(folder)
        except DeliveryError:
            return None

    def expire(self, before_ms: int) -> Iterator[int]:
        """Remove old files, one folder per step."""
        return files.expire(self.folder, before_ms)

    def empty(self) -> Iterator[None]:
        """Remove all files and folders in it."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            _remove(path)
            yield


def _remove(path: Path) -> None:
    # Another server may be deleting the same folder.
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
