"""What a file is called while it is being written beside its place, and how what was left there is recognised.

Every write has a name of its own. Two that write the same file at once, one of them perhaps late, never share one.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from offtake.errors import DeliveryError

_LONGEST: Final = 255
"""Bytes of a name that file systems take."""
_MARK: Final = re.compile(r"\.(?P<whole>(?P<stem>.+?)(\.[0-9a-f]{8})?)\.tmp", re.DOTALL)
_AROUND: Final = len(".") + len(".01234567.tmp")
_HASH: Final = 16


def temporary_name(name: str) -> str:
    """`.NAME.<8 hexadecimal digits>.tmp`, never given before. A NAME that is too long for it is shortened."""
    return f".{_stem(name)}.{secrets.token_hex(4)}.tmp"


def is_temporary(name: str) -> bool:
    """Whether nobody is to see the file yet."""
    return name.startswith(".") and name.endswith(".tmp")


def left_behind(names: Collection[str], found: Iterable[str]) -> Iterator[str]:
    """What of `found` is a temporary file of one of the files `names`.

    Until there was a name for each write, it was `.NAME.tmp`; those are recognised too.
    """
    stems, old = {_stem(name) for name in names}, set(names)
    for one in found:
        mark = _MARK.fullmatch(one)
        if mark is not None and (mark["stem"] in stems or mark["whole"] in old):
            yield one


def removed_meanwhile(where: str) -> DeliveryError:
    """Why a write that lasted too long for somebody cannot be completed."""
    return DeliveryError(
        "EXPORT-2003-504",
        f"Somebody else removed what was written of {where} before it was complete.",
        "Another writer may have taken over; the export is tried again.",
        transient=True,
    )


def _stem(name: str) -> str:
    data = name.encode("utf-8", "surrogateescape")
    if len(data) + _AROUND <= _LONGEST:
        return name
    kept = data[: _LONGEST - _AROUND - len("~") - _HASH].decode("utf-8", "ignore")
    return f"{kept}~{hashlib.sha256(data).hexdigest()[:_HASH]}"
