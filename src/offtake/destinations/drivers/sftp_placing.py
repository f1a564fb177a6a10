"""How files are put in place at an SFTP server: servers differ in names, flags and read access."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

TemporaryName = Literal["DOT", "SUFFIX", "FOLDER", "NONE"]
TEMPORARY_NAMES: Final[tuple[TemporaryName, ...]] = ("DOT", "SUFFIX", "FOLDER", "NONE")
FOLDER: Final = "offtake-unfinished"
"""The folder of temporary files, in the target's folder."""


@dataclass(frozen=True)
class Placing:
    """`temporary_name` until the rename: `.NAME.….tmp`, `NAME.….tmp`, or the latter in a separate folder.

    `NONE`: a file is written under its final name, for servers that cannot rename; then each attempt has its own name.
    `exclusive_create`: create temporary files with the flag EXCL. `read_back`: files and their sizes can be read; else
    a delivery is verified only by the server's acknowledgement.
    """

    temporary_name: TemporaryName = "DOT"
    exclusive_create: bool = True
    read_back: bool = True

    @property
    def dot(self) -> str:
        """The prefix of temporary names."""
        return "." if self.temporary_name == "DOT" else ""

    @property
    def in_place(self) -> bool:
        """Whether files are written under their final names."""
        return self.temporary_name == "NONE"

    def __str__(self) -> str:
        created = str(self.exclusive_create).lower()
        return f"temporaryName={self.temporary_name}, exclusiveCreate={created}, readBack={str(self.read_back).lower()}"


DEFAULT_PLACING: Final = Placing()
"""The default, which OpenSSH and most other servers allow."""


def candidates(fixed: Mapping[str, object]) -> Iterator[Placing]:
    """The ways to try at an unknown server, the default first; fields in `fixed` keep their value.

    Without a temporary name, only EXCL prevents two writers from writing to one file.
    """
    for temporary_name, exclusive_create in product(TEMPORARY_NAMES, (True, False)):
        if temporary_name == "NONE" and not exclusive_create:
            continue
        placing = Placing(temporary_name, exclusive_create, fixed.get("read_back") is not False)
        if all(getattr(placing, name) == value for name, value in fixed.items()):
            yield placing
