"""What a file is called while it is being written beside its place, and how what was left there is recognised.

Every write has a name of its own. Two that write the same file at once, one of them perhaps late, never share one.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError

_LONGEST: Final = 255
"""Bytes of a name that file systems take."""
_MARK: Final = re.compile(r"(?P<dot>\.?)(?P<whole>(?P<stem>.+?)(\.(?P<digits>[0-9a-f]{8}))?)\.tmp", re.DOTALL)
_SUFFIX: Final = re.compile(r".+\.([0-9a-f]{8}|recalled)\.tmp", re.DOTALL)
_AROUND: Final = len(".") + len(".01234567.tmp")
_HASH: Final = 16
_WRITERS: Final = 0x10000


def temporary_name(name: str, writer: int = 0, *, dot: str = ".") -> str:
    """`.NAME.<8 hexadecimal digits>.tmp`: four of the writer's number, four by chance. A long NAME is shortened.

    `dot`: `""` for servers that refuse names that begin with one.
    """
    return f"{dot}{_base_name(name)}.{writer % _WRITERS:04x}{secrets.token_hex(2)}.tmp"


def withdrawn_name(name: str, *, dot: str = ".") -> str:
    """What a complete file is called after it was taken back; nothing but its own removal touches that name."""
    return f"{dot}{_base_name(name)}.recalled.tmp"


def is_temporary(name: str) -> bool:
    """Whether nobody is to see the file yet."""
    return name.endswith(".tmp") and (name.startswith(".") or _SUFFIX.fullmatch(name) is not None)


def leftovers_of(names: Collection[str], found: Iterable[str], upto: int | None = None) -> Iterator[str]:
    """What of `found` is a temporary file of one of the files `names`; with `upto`, of writers up to that number.

    Until there was a name for each write, it was `.NAME.tmp`; those are recognised too.
    """
    stems, old = {_base_name(name) for name in names}, set(names)
    for one in found:
        mark = _MARK.fullmatch(one)
        if mark is None or not (mark["digits"] or mark["dot"]):
            continue
        if mark["stem"] not in stems and mark["whole"] not in old:
            continue
        if upto is None or mark["digits"] is None or int(mark["digits"][:4], 16) <= upto % _WRITERS:
            yield one


def overtaken_error(where: str) -> DeliveryError:
    """Why a write that lasted too long for somebody cannot be completed."""
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"Somebody else removed what was written of {where} before it was complete.",
        "Another writer may have taken over; the export is tried again.",
    )


def _base_name(name: str) -> str:
    data = name.encode("utf-8", "surrogateescape")
    if len(data) + _AROUND <= _LONGEST:
        return name
    kept = data[: _LONGEST - _AROUND - len("~") - _HASH].decode("utf-8", "ignore")
    return f"{kept}~{hashlib.sha256(data).hexdigest()[:_HASH]}"
