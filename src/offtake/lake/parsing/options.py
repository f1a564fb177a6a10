"""How files are to be read. One declaration for the command line, the API's `inputFormat` and the parsers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

Nanoseconds = Literal["text", "truncate", "refuse"]
"""What becomes of times with more than six digits of a second, which Iceberg's tables cannot hold as times.

`text` keeps the column as text with all nine digits, `truncate` cuts them to microseconds, `refuse` refuses the file.
"""


@dataclass(frozen=True)
class CsvOptions:
    """How a CSV file is written.

    `delimiter` None: recognised from the file, one of comma, semicolon, tab and `|`. `quote` None: quote characters
    are ordinary text. `null`: the word that stands for no value, next to the empty unquoted field. `charset` None:
    UTF-8, or what a byte order mark says; else a Python codec's name.
    """

    delimiter: str | None = None
    quote: str | None = '"'
    escape: str | None = None
    null: str | None = None
    header: bool = True
    charset: str | None = None


@dataclass(frozen=True)
class ParseOptions:
    """`types`: the Arrow types of columns that the user declared, by name."""

    csv: CsvOptions = CsvOptions()
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    nanoseconds: Nanoseconds = "text"
