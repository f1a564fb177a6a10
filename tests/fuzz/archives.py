"""What goes wrong in backups' archives: names, types, sizes, links, sparse files, headers, order, sums and ends."""

import hashlib
import tarfile
from dataclasses import dataclass
from random import Random
from typing import Final

from offtake.backup.archive import SUMS
from tests.fuzz import grammar
from tests.fuzz.grammar import one_in

_BLOCK: Final = 512
_STEPS: Final = (
    "uploads", "warehouse", "a", "b", "..", ".", "", "/", "é", "\\", "C:", "~", "a\n", "\0", " ", "x" * 120, "\udcff",
    "b.tar",
)  # fmt: skip
_TYPES: Final = b"01234567xgLKSDVNMA\0 Z"
_NUMBERS: Final = (
    b"0", b"7", b"77777777777", b"99999999999", b"-1", b"", b" ", b"0x10", b"1 1", b"\x80" + b"\0" * 10 + b"\x05",
    b"\xff" * 12, b"\xff" + b"\0" * 11, b"\x80" + b"\xff" * 11, b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7,
    b"\0" * 12, b"00000001000",
)  # fmt: skip
_FIELDS: Final = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "size": (124, 12), "mtime": (136, 12), "type": (156, 1),
    "link": (157, 100), "magic": (257, 8), "device": (329, 8), "prefix": (345, 155), "sparse": (386, 97),
    "extended": (482, 1),
}  # fmt: skip
_NUMERIC: Final = ("mode", "uid", "size", "mtime", "device")
_PAX_KEYS: Final = (
    "path", "linkpath", "size", "mtime", "uid", "uname", "hdrcharset", "comment", "GNU.sparse.major",
    "GNU.sparse.minor", "GNU.sparse.realsize", "GNU.sparse.size", "GNU.sparse.numblocks", "GNU.sparse.map",
    "GNU.sparse.name", "GNU.sparse.offset", "",
)  # fmt: skip
_PAX_VALUES: Final = (
    "0",
    "1",
    "-1",
    "5",
    "512",
    "1e3",
    "nan",
    "inf",
    "9" * 30,
    "BINARY",
    "0,1",
    "0,1,2",
    "1,-1",
    "x",
    "uploads/../../x",
)


@dataclass
class Member:
    """A member, and the blocks that come before its own: headers that go on about it."""

    name: str
    content: bytes
    header: bytes = b""

    def blocks(self) -> bytes:
        header = self.header or _header(self.name, len(self.content))
        return header + _padded(self.content)


def archive(random: Random, good: list[Member]) -> bytes:
    """An archive that is right but for something; its sums are right more often than not."""
    members = list(good)
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice((_add, _add, _change, _double, _drop, _move, _before))(random, members)
    sums = "".join(f"{hashlib.sha256(one.content).hexdigest()}  {one.name}\n" for one in members).encode(
        "utf-8", "surrogateescape"
    )
    if one_in(random, 8):
        sums = grammar.cut(random, sums)
    last = Member(SUMS, sums)
    members.insert(len(members) if not one_in(random, 15) else random.randrange(len(members) + 1), last)
    made = b"".join(one.blocks() for one in members)
    end = (
        b"\0" * (2 * _BLOCK)
        if not one_in(random, 8)
        else random.choice((b"", b"\0" * _BLOCK, random.randbytes(_BLOCK), last.blocks()))
    )
    return grammar.cut(random, made + end) if one_in(random, 10) else made + end


def name(random: Random) -> str:
    """A name; mostly one of steps that lead somewhere else."""
    if one_in(random, 6):
        return grammar.text(random)
    return "/".join(random.choices(_STEPS, k=random.randrange(1, 7)))


def _header(called: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    info = tarfile.TarInfo(called)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _BLOCK)


def _add(random: Random, members: list[Member]) -> None:
    """A member more: of any name, and of any type."""
    called = name(random) if one_in(random, 2) else random.choice(("uploads/", "warehouse/")) + name(random)
    called = called.encode("utf-8", "replace").decode() if not one_in(random, 10) else called
    try:
        plain = _header(called, 5)
    except UnicodeError:
        called = "uploads/a"
        plain = _header(called, 5)
    made = Member(called, b"owned", plain)
    if one_in(random, 2):
        kind = bytes([random.choice(_TYPES)])
        made.header = _header(
            called[:90].encode("ascii", "replace").decode(),
            5,
            kind,
            random.choice(("a", "/etc/passwd", "../../x", "uploads/a")),
        )
    members.insert(random.randrange(len(members) + 1), made)


def _change(random: Random, members: list[Member]) -> None:
    """One field of a member's header is another one."""
    index = random.randrange(len(members))
    one = members[index]
    header = bytearray((one.header or _header(one.name, len(one.content)))[-_BLOCK:])
    for _ in range(random.choice((1, 1, 2))):
        field = random.choice(list(_FIELDS))
        first, size = _FIELDS[field]
        put = bytes([random.choice(_TYPES)]) if field == "type" else random.choice(_NUMBERS)
        if field not in _NUMERIC and one_in(random, 2):
            put = random.choice(
                (random.randbytes(size), name(random).encode("utf-8", "replace"), b"ustar  \0", b"\xff" * size)
            )
        header[first : first + size] = put[:size].ljust(size, b"\0")
    if not one_in(random, 10):
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    members[index] = Member(one.name, one.content, bytes(header))


def _double(random: Random, members: list[Member]) -> None:
    """A name that is there twice, or as a folder too."""
    one = random.choice(members)
    called = random.choice(
        (one.name, f"{one.name}/x", one.name.partition("/")[0], f"./{one.name}", f"{one.name}/", one.name.upper())
    )
    members.insert(random.randrange(len(members) + 1), Member(called, b"again"))


def _drop(random: Random, members: list[Member]) -> None:
    if len(members) > 1:
        members.pop(random.randrange(len(members)))


def _move(random: Random, members: list[Member]) -> None:
    members.insert(0, members.pop(random.randrange(len(members))))


def _before(random: Random, members: list[Member]) -> None:
    """Headers before a member that say something else of it, of all that follow, or go on for ever."""
    index = random.randrange(len(members))
    one = members[index]
    kind = random.choice((b"x", b"x", b"x", b"g", b"L", b"K"))
    records = b"".join(_record(random) for _ in range(random.choice((0, 1, 1, 2, 3))))
    content = (
        records if kind in b"xg" else name(random).encode("utf-8", "replace") + random.choice((b"\0", b"", b"x" * 3000))
    )
    header = _header("././@x", len(content), kind) + _padded(content)
    times = random.choice((1, 1, 1, 2, 50, 2000)) if one_in(random, 8) else 1
    members[index] = Member(one.name, one.content, header * times + (one.header or _header(one.name, len(one.content))))


def _record(random: Random) -> bytes:
    """A record of a PAX header, whose length is not always its own."""
    key, said = random.choice(_PAX_KEYS), random.choice(_PAX_VALUES) if not one_in(random, 4) else grammar.text(random)
    body = f" {key}={said}\n".encode("utf-8", "surrogatepass")
    length = next(size for size in range(len(body), len(body) + 10) if len(str(size)) + len(body) == size)
    if one_in(random, 6):
        length = random.choice((0, 1, length - 1, length + 1, 10**9, -1))
    made = f"{length}".encode() + body
    return grammar.cut(random, made) if one_in(random, 10) else made
