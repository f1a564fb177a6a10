"""Amounts as users write them, such as `5000000`, `500G` and `1.5T`."""

import re
from typing import Final

from offtake.errors import OfftakeError

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_AMOUNT: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,3})?)([kmgt]?)b?", re.IGNORECASE | re.ASCII)


def parse(text: str) -> int:
    """The number of an amount. Raises `OfftakeError`."""
    found = _AMOUNT.fullmatch(text.replace("_", "").replace(",", ""))
    if found is None:
        raise OfftakeError("is not a limit; give a number such as 5000000, 500G or 1.5T")
    unit = _UNITS[found[2].lower()]
    whole, _, part = found[1].partition(".")
    return int(whole) * unit + int(part.ljust(3, "0") or 0) * unit // 1000


def describe(amount: int) -> str:
    """The amount as `parse` reads it, in its largest whole unit."""
    found = next((unit for unit in reversed(_UNITS) if amount and amount % _UNITS[unit] == 0), "")
    return f"{amount // _UNITS[found]}{found.upper()}"
