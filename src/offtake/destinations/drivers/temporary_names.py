"""Names of temporary files, and how leftovers of dead writers are found.

Each write has its own temporary name: concurrent or late writers of the same file never share one.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError

_LONGEST: Final = 255
"""The most bytes of a file name."""
_MARK: Final = re.compile(r"(?P<dot>\.?)(?P<whole>(?P<stem>.+?)(\.(?P<digits>[0-9a-f]{8}))?)\.tmp", re.DOTALL)
_SUFFIX: Final = re.compile(r".+\.([0-9a-f]{8}|recalled)\.tmp", re.DOTALL)
_AROUND: Final = len(".") + len(".01234567.tmp")
_HASH: Final = 16
_WRITERS: Final = 0x10000


def temporary_name(name: str, writer: int = 0, *, dot: str = ".") -> str:
    """`.NAME.<8 hexadecimal digits>.tmp`: four digits of the writer's number, four random. A long NAME is shortened.

    `dot`: `""` for servers that refuse names with a leading dot.
    """
    return f"{dot}{_base_name(name)}.{writer % _WRITERS:04x}{secrets.token_hex(2)}.tmp"


def withdrawn_name(name: str, *, dot: str = ".") -> str:
    """The name of a withdrawn complete file; only its removal touches that name."""
    return f"{dot}{_base_name(name)}.recalled.tmp"


def is_temporary(name: str) -> bool:
    """Whether it is the name of a temporary file, which is not listed."""
    return name.endswith(".tmp") and (name.startswith(".") or _SUFFIX.fullmatch(name) is not None)


def leftovers_of(names: Collection[str], found: Iterable[str], upto: int | None = None) -> Iterator[str]:
    """The names in `found` that are temporary files of `names`; with `upto`, of writers up to that number.

    Names of earlier versions (`.NAME.tmp`) are recognised too.
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


def overtaken_error(address: str) -> DeliveryError:
    """The error of a write whose temporary file was deleted, usually by the run's next worker."""
    return DeliveryError(
        DESTINATION_UNAVAILABLE,
        f"The temporary file for {address} was deleted by another process before it was complete.",
        "Another worker may have taken over the run; the export is retried.",
    )


def _base_name(name: str) -> str:
    data = name.encode("utf-8", "surrogateescape")
    if len(data) + _AROUND <= _LONGEST:
        return name
    kept = data[: _LONGEST - _AROUND - len("~") - _HASH].decode("utf-8", "ignore")
    return f"{kept}~{hashlib.sha256(data).hexdigest()[:_HASH]}"
