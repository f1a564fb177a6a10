"""How files are put in place at an SFTP server: servers have rules of their own for names, flags and looking back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

TemporaryName = Literal["DOT", "SUFFIX", "FOLDER", "NONE"]
TEMPORARY_NAMES: Final[tuple[TemporaryName, ...]] = ("DOT", "SUFFIX", "FOLDER", "NONE")
FOLDER: Final = "offtake-unfinished"
"""The folder of temporary names, in the target's own folder."""


@dataclass(frozen=True)
class Placing:
    """`temporary_name`: `.NAME.….tmp`, `NAME.….tmp`, or that in a folder of its own, until the rename.

    `NONE`: a file is written under its final name, as nothing can be renamed; then each attempt has its own name.
    `exclusive_create`: the server is asked to refuse a temporary name that is taken. `read_back`: it tells the size of
    files, and gives them back; else what it acknowledged is the proof.
    """

    temporary_name: TemporaryName = "DOT"
    exclusive_create: bool = True
    read_back: bool = True

    @property
    def dot(self) -> str:
        """What temporary names begin with."""
        return "." if self.temporary_name == "DOT" else ""

    @property
    def in_place(self) -> bool:
        """Whether files are written under their final names."""
        return self.temporary_name == "NONE"

    def __str__(self) -> str:
        created = str(self.exclusive_create).lower()
        return f"temporaryName={self.temporary_name}, exclusiveCreate={created}, readBack={str(self.read_back).lower()}"


USUAL: Final = Placing()
"""What OpenSSH and most others allow."""


def candidates(given: Mapping[str, object]) -> Iterator[Placing]:
    """The ways to try at a server that is not known yet, the usual one first; what is given stays.

    Without a temporary name, only the server's refusal keeps two writers from writing one file.
    """
    for temporary_name, exclusive_create in product(TEMPORARY_NAMES, (True, False)):
        if temporary_name == "NONE" and not exclusive_create:
            continue
        placing = Placing(temporary_name, exclusive_create, given.get("read_back") is not False)
        if all(getattr(placing, name) == value for name, value in given.items()):
            yield placing
