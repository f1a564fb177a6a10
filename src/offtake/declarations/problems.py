"""Problems of documents: all of them are found before anything is changed."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from offtake.errors import OfftakeError

_CLOSE: Final = 0.6
_MOST: Final = 50


class DocumentsError(OfftakeError):
    """The documents cannot be applied; nothing was changed. `problems`: a line for each, with file and line number."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        count = len(self.problems)
        super().__init__(self.problems[0] if count == 1 else f"{count} problems in the documents; nothing was changed.")

    @property
    def lines(self) -> list[str]:
        """The problems to print before the error: none if the error itself is the only one."""
        if len(self.problems) == 1:
            return []
        more = len(self.problems) - _MOST
        return [*self.problems[:_MOST], *([f"… and {more} more"] if more > 0 else [])]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, else at all known names."""
    names = list(known)
    near = get_close_matches(name, names, 1, _CLOSE)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(names)}" if names else "none is known"
