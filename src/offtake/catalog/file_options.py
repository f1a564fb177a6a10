"""Parse options as users write them: the options of `dataset import`, and a batch's `inputFormat`."""

import codecs
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from offtake.catalog import column_types
from offtake.contract.bodies import Body
from offtake.lake.parsing.options import CsvOptions, Nanoseconds, ParseOptions
from offtake.lake.type_names import format_type

NONE: Final = "none"
_TABS: Final = ("\\t", "tab", "\t")
_NEVER_TEXT: Final = frozenset(("idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"))
"""Python's special codecs, which are not encodings of files."""
_FOR_CSV: Final = {
    "delimiter": "delimiter",
    "quote": "quote",
    "escape": "escape",
    "null_marker": "nullMarker",
    "header": "header",
    "charset": "charset",
}


def _check_character(value: str) -> str:
    if len(value) != 1 or not value.isascii() or value in "\r\n\x00":
        raise ValueError("must be one ASCII character other than a line break")
    return value


def _character(value: str) -> str:
    return "\t" if value.lower() in _TABS else _check_character(value)


def _character_or_none(value: str) -> str:
    return NONE if value.lower() == NONE else _character(value)


def _charset(value: str) -> str:
    try:
        found = codecs.lookup(value)
    except (LookupError, ValueError):
        raise ValueError("must be the name of a known text encoding, such as UTF-8 or cp1252") from None
    if not found._is_text_encoding or found.name in _NEVER_TEXT:  # noqa: SLF001 - Python offers no other way to ask
        raise ValueError("must be a text encoding, such as UTF-8 or cp1252")
    return value


def _check_types(value: dict[str, str]) -> dict[str, str]:
    try:
        column_types.parse_types(value)
    except column_types.ColumnTypeError as error:
        raise ValueError(str(error)) from None
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Short = Annotated[str, StringConstraints(max_length=1000)]
Character = Annotated[Short, AfterValidator(_character)]
CharacterOrNone = Annotated[Short, AfterValidator(_character_or_none)]


class FileOptions(Body):
    r"""Parse options. All except `columnTypes` and `nanoseconds` are for CSV only.

    `quote`: `none` when quote characters are ordinary text; a tab may be written as `\t` or `tab`.
    """

    delimiter: Character | None = None
    quote: CharacterOrNone | None = None
    escape: CharacterOrNone | None = None
    null_marker: Short | None = None
    header: bool | None = None
    charset: Annotated[Short, AfterValidator(_charset)] | None = None
    column_types: Annotated[dict[str, str], AfterValidator(_check_types)] | None = Field(
        default=None, max_length=column_types.MOST_COLUMNS
    )
    nanoseconds: Annotated[Nanoseconds, BeforeValidator(_lower)] | None = None

    @model_validator(mode="after")
    def _differ(self) -> Self:
        delimiter = self.delimiter
        for name, other in (("quote", self.quote or '"'), ("escape", self.escape)):
            if delimiter is not None and delimiter == other:
                raise ValueError(f"delimiter and {name} are both {delimiter!r}; they must differ")
        return self

    def csv_only_options(self) -> list[str]:
        """The CSV-only options that are set, by their names in `inputFormat`."""
        return [alias for name, alias in _FOR_CSV.items() if getattr(self, name) is not None]


def parse_options(options: FileOptions) -> ParseOptions:
    """Translate users' options into the parsers' options; the only place that does."""
    quote = None if options.quote == NONE else options.quote or '"'
    # An escape equal to the quote means doubled quotes, which is the default without an escape.
    escape = None if options.escape in (NONE, quote) else options.escape
    return ParseOptions(
        csv=CsvOptions(
            delimiter=options.delimiter,
            quote=quote,
            escape=escape,
            null=options.null_marker,
            header=options.header is not False,
            charset=None if options.charset is None else codecs.lookup(options.charset).name,
        ),
        types=column_types.parse_types(options.column_types or {}),
        nanoseconds=options.nanoseconds or "text",
    )


def canonical(options: ParseOptions) -> bytes:
    """The options as canonical JSON: equal bytes for equal options."""
    document: Mapping[str, object] = {
        "csv": asdict(options.csv),
        "types": {name: format_type(kind) for name, kind in options.types.items()},
        "nanoseconds": options.nanoseconds,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def content_hash(file_hashes: Collection[str], options: ParseOptions) -> str:
    """SHA-256 of an import's content: the sorted hashes of its files, and the parse options."""
    return hashlib.sha256("\n".join(sorted(file_hashes)).encode() + b"\n" + canonical(options)).hexdigest()
