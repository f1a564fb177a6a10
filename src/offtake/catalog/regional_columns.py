"""Notes about columns whose numbers or dates look European, and which therefore become text."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from offtake.documents import Json
from offtake.lake.parsing import regional_text

_NAMED: Final = 5


def notes(preview: Json, effect: Json, skipped: Collection[str] = ()) -> Iterator[str]:
    """The notes for a dry run's text columns, by the first rows; `skipped`: columns that are not looked at."""
    texts = {one["name"] for one in effect["columns"] if one["type"] == "string"} - set(skipped)
    columns = [
        (one["name"], [text for row in preview["rows"] if (text := row.get(one["cid"], "").strip())])
        for one in preview["columns"]
        if one["name"] in texts
    ]
    yield from _note(columns, regional_text.plain_number, _is_whole, "numbers with a decimal comma", "numbers")
    yield from _note(columns, regional_text.plain_date, _is_nothing, "dates", "dates")


def _note(
    columns: Sequence[tuple[str, list[str]]],
    plain: Callable[[str], str | None],
    also: Callable[[str], bool],
    what: str,
    wanted: str,
) -> Iterator[str]:
    """One note for the columns with values of which `plain` knows the plain form, all others being as `also` tests."""
    found, example = [], ""
    for name, texts in columns:
        written = [text for text in texts if plain(text) is not None]
        if written and all(plain(text) is not None or also(text) for text in texts):
            found.append(name[:100])
            example = example or written[0]
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        names = f"{'Column' if len(found) == 1 else 'Columns'} {', '.join(found[:_NAMED])}{more}"
        has, become = ("has", "It becomes") if len(found) == 1 else ("have", "They become")
        yield (
            f'{names} {has} {what}, such as "{example}". {become} text (string). For {wanted}, write {plain(example)} '
            "in the file."
        )


def _is_whole(text: str) -> bool:
    return text.lstrip("-").isdecimal()


def _is_nothing(_text: str) -> bool:
    return False
