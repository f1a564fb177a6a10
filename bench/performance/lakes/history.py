"""A table with a long history, as a REST catalog answers it: ten appends, with many snapshots before them."""

from typing import Final

APPENDS: Final = 10
_FORM: Final = 1
