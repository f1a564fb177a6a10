"""Options for parsing files, shared by the command line, the API's `inputFormat` and the parsers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

Nanoseconds = Literal["text", "truncate", "refuse"]
"""How to import times with a precision finer than microseconds, which Iceberg's time types cannot hold.

`text`: import the column as text with all nine digits; `truncate`: to microseconds; `refuse`: refuse the file.
"""


@dataclass(frozen=True)
class CsvOptions:
    """The format of a CSV file.

    `delimiter` None: detected, one of comma, semicolon, tab and `|`. `quote` None: quote characters are ordinary text.
    `null`: the text for null, in addition to the empty unquoted field. `charset`: a Python codec's name; None: by the
    byte order mark, else UTF-8.
    """

    delimiter: str | None = None
    quote: str | None = '"'
    escape: str | None = None
    null: str | None = None
    header: bool = True
    charset: str | None = None


@dataclass(frozen=True)
class ParseOptions:
    """Parsing options. `types`: Arrow types that the user declared for columns, by name."""

    csv: CsvOptions = CsvOptions()
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    nanoseconds: Nanoseconds = "text"
