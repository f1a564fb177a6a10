"""The Markdown of the destinations' guides as parts that templates render: paragraphs and blocks of code."""

import re
from dataclasses import dataclass
from typing import Final

_FENCE: Final = re.compile(r"```[a-z]*\n(.*?)\n```", re.DOTALL)
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_EMPHASIS: Final = re.compile(r"\*([^*\s][^*]*)\*")


@dataclass(frozen=True)
class Part:
    """A block of code, or a paragraph of pieces: each a text, and whether it is code."""

    code: str = ""
    pieces: tuple[tuple[str, bool], ...] = ()


def parts(text: str) -> list[Part]:
    """The parts of a text, in order. Links keep their text only, emphasis is dropped."""
    found: list[Part] = []
    for number, block in enumerate(_FENCE.split(text)):
        if number % 2:
            found.append(Part(code=block))
        else:
            found += [Part(pieces=_pieces(one)) for one in re.split(r"\n\s*\n", block) if one.strip()]
    return found


def _pieces(paragraph: str) -> tuple[tuple[str, bool], ...]:
    pieces = (
        (piece if number % 2 else _EMPHASIS.sub(r"\1", _LINK.sub(r"\1", piece)), bool(number % 2))
        for number, piece in enumerate(paragraph.strip().split("`"))
    )
    return tuple((text, is_code) for text, is_code in pieces if text)
