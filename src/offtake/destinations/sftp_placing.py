"""How files are put in place at an SFTP server: servers have rules of their own for names, flags and looking back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

TemporaryName = Literal["DOT", "SUFFIX", "FOLDER"]
TEMPORARY_NAMES: Final[tuple[TemporaryName, ...]] = ("DOT", "SUFFIX", "FOLDER")
FOLDER: Final = "offtake-unfinished"
"""The folder of temporary names, in the target's own folder."""


@dataclass(frozen=True)
class Placing:
    """`temporary_name`: `.NAME.….tmp`, `NAME.….tmp`, or that in a folder of its own, until the rename.

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

    def __str__(self) -> str:
        created = str(self.exclusive_create).lower()
        return f"temporaryName={self.temporary_name}, exclusiveCreate={created}, readBack={str(self.read_back).lower()}"


USUAL: Final = Placing()
"""What OpenSSH and most others allow."""


def candidates(given: Mapping[str, object]) -> Iterator[Placing]:
    """The ways to try at a server that is not known yet, the usual one first; what is given stays."""
    for temporary_name, exclusive_create in product(TEMPORARY_NAMES, (True, False)):
        placing = Placing(temporary_name, exclusive_create, given.get("read_back") is not False)
        if all(getattr(placing, name) == value for name, value in given.items()):
            yield placing
