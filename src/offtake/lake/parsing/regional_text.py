"""Numbers and dates as people in Europe write them: `1.234,50` and `31.12.2024`. They are recognised, not read."""

import re
from typing import Final

_NUMBER: Final = re.compile(r"[-+]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]{1,3}('[0-9]{3})+|[0-9]+)(,[0-9]+)?", re.ASCII)
_GROUPED: Final = re.compile(r"[-+]?[0-9]{1,3}(\.[0-9]{3}){2,}", re.ASCII)
_DATE: Final = re.compile(r"([0-3]?[0-9])\.([01]?[0-9])\.([0-9]{4})", re.ASCII)


def plain_number(text: str) -> str | None:
    """`1234.50` for a number with a decimal comma such as `1.234,50`; None for other text."""
    if not (_NUMBER.fullmatch(text) and "," in text) and not _GROUPED.fullmatch(text):
        return None
    return text.lstrip("+").replace(".", "").replace("'", "").replace(",", ".")


def plain_date(text: str) -> str | None:
    """`2024-12-31` for a date such as `31.12.2024`; None for other text."""
    found = _DATE.fullmatch(text)
    return f"{found[3]}-{found[2]:0>2}-{found[1]:0>2}" if found else None
