"""The documents in files: which files, and their texts as documents with places for error messages."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from offtake.declarations import yaml_text
from offtake.declarations.yaml_text import TextError
from offtake.errors import OfftakeError

STANDARD_INPUT: Final = "-"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Source:
    """A document as it is in a file. `folder`: where the files are that it refers to by relative paths."""

    file: str
    folder: Path
    value: Any
    parsed: yaml_text.Parsed
    prefix: yaml_text.Path = ()

    def place(self, path: yaml_text.Path = ()) -> str:
        """The file and the line of a value, for messages."""
        return f"{self.file}:{self.parsed.line_of((*self.prefix, *path))}"


def read(names: Sequence[str]) -> list[Source]:
    """The documents of files, of the files of folders, and of standard input (`-`). Raises `OfftakeError`."""
    return [one for name in names for path in _files(name) for one in _documents(path)]


def _files(name: str) -> Iterator[str]:
    path = Path(name)
    if name == STANDARD_INPUT or not path.is_dir():
        yield name
        return
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in _SUFFIXES and one.is_file())
    if not found:
        raise OfftakeError(f"The folder {name} has no file that ends in {', '.join(_SUFFIXES)}.")
    yield from map(str, found)


def _documents(name: str) -> Iterator[Source]:
    shown = "standard input" if name == STANDARD_INPUT else name
    folder = Path() if name == STANDARD_INPUT else Path(name).parent
    try:
        for parsed in yaml_text.parse(_text(name)):
            if isinstance(parsed.value, list):
                for index, value in enumerate(parsed.value):
                    yield Source(shown, folder, value, parsed, (index,))
            else:
                yield Source(shown, folder, parsed.value, parsed)
    except TextError as error:
        raise OfftakeError(f"{shown}:{error.line}: {error}.") from None


def _text(name: str) -> str:
    try:
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise OfftakeError(f"{name} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise OfftakeError(f"{name} is not UTF-8 text.") from None
