"""What goes wrong in what clients send: text, JSON, filters, tokens.

Plain functions of one `random.Random`: to draw a request this way costs a tenth of what it costs to answer it, and the
same seed draws the same request.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from random import Random
from typing import Any, Final, TypeVar
from urllib.parse import quote

T = TypeVar("T")
Json = dict[str, Any]

NASTY: Final = (
    "", " ", "\0", "a\0b", "\ud800", "a\udfff", "%", "*", ".", "..", "../..", "/", "//", "\\", "a/b", "é" * 300,
    "${x}", "'; drop", '"', "\ufffe", "\ufeff", "\r\n", "a\nb", "\t", "\x1b[0m", "\u2028", "\u202e", "e\u0301",
    "\U0001f600", "\u0130", "ß", "null", "true", "NaN", "-0", "1e999", "0x10", "9" * 25, "-1", "١٢", "x" * 1001,
    "x" * 5000, "%DATASET_ID%", "%EXPORT_TIME", "%EXPORT_TIME(YYYY", "%%", "{{", "(a+)+$", "a" * 30 + "!", "[", "]",
    "[::1", "#", "?", "&", "=", ";", ",", "a,b,,", "a.b.c", "a..b", "core/C1", "2026-02-30", "2026-03-01T12:00:00Z",
    "9999-12-31T23:59:60Z", "0000-00-00", "P1D", "hour", "disabled", "decimal(38,38)", "decimal(99,-1)",
    "struct<a:int>", "list<" * 30, "map<string,int>", "timestamptz", "uuid", "fixed[0]", "constructor", "__proto__",
    "self", "id", "name", "-updatedAt",
)  # fmt: skip
NUMBERS: Final = (
    0, 1, -1, 2, 7, 24, 100, 101, 1000, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1,
    2**64, 10**18, 10**30, 1_772_366_400, 1_772_366_400_000, 253_402_300_800, 0.5, -0.0, 1e16, 1e300, float("nan"),
    float("inf"), -float("inf"), True, False,
)  # fmt: skip
RAW_BODIES: Final = (
    b"", b" ", b"[]", b"null", b"1", b'"x"', b"{", b"}", b"[" * 50_000, b'{"a":' * 20_000, b'{"name":1e999}', b"\xff",
    b'{"name":NaN}', b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0",
    b'{"a":' + b"9" * 5000 + b"}", b'{"a":1.' + b"1" * 5000 + b"}", b"{}{}", b'{"name":"\xc3"}',
    b'{"name":"\xed\xa0\x80"}', b"name=x", b"-", b"[{}]", b'[{"op":"add"}]', b"\0" * 10, b'{"":{}}',
)  # fmt: skip
SIGNS: Final = ("==", "!=", ">", "<", ">=", "<=", "=~", "~", "=", "", "===", "!", "==!", "==~")
WORDS: Final = (
    "id", "name", "createdAt", "updatedAt", "state", "status", "flowId", "metrics.x", "a.b", "", "\0", "description",
    "tags.x", "metrics.durationSummary.startedAtUTC", "scheduleParams.startTime", "connectionSpec.id", "type",
    "action", "sourceConnectionIds", "flowSpec.id", "schemaRef.id", "created", "lastBatchStatus", "dataset", "labels",
    "timestamp", "auth.params.x", "inheritedAttributes", "%", "limit", "etag", "version",
)  # fmt: skip
_ALPHABETS: Final = (
    "abcdefghijklmnopqrstuvwxyz0123456789", "aA0 _-./:", "\x00\x01\x07\x08\x1f\x7f\x80\x9f", "éßäñ漢字ひ한אب",
    "\u0300\u0301\u200d\ufe0f", "\U0001f600\U0001f468\U0010ffff\U00010000", "%\"'`<>&;=+?#", "\r\n\t\v\f\u0085\u2028",
    "\ud800\udbff\udc00\udfff",
)  # fmt: skip


def one_in(random: Random, count: int) -> bool:
    """True once in so many times."""
    return random.randrange(count) == 0


def text(random: Random) -> str:
    """Any text; often one that has broken programs before."""
    if random.random() < 0.6:
        return random.choice(NASTY)
    if one_in(random, 4):
        return "".join(chr(random.randrange(0x110000)) for _ in range(random.randrange(8)))
    alphabet = random.choice(_ALPHABETS)
    return "".join(random.choices(alphabet, k=random.randrange(30)))


def number(random: Random) -> float:
    """A number; often one at the end of a range."""
    if random.random() < 0.7:
        return random.choice(NUMBERS)
    return random.randrange(-(2**70), 2**70) if one_in(random, 2) else random.uniform(-1e6, 1e6)


def value(random: Random, depth: int = 3) -> Any:
    """Any JSON value, or one that Python writes although JSON does not have it, such as NaN."""
    kind = random.randrange(10)
    if depth and kind == 0:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    if depth and kind == 1:
        return {text(random): value(random, depth - 1) for _ in range(random.randrange(4))}
    if kind == 2:
        return None
    return number(random) if kind < 5 else text(random)


def rarely_deep(random: Random) -> Any:
    """The same, now and then nested deeper than anybody needs."""
    made = value(random)
    for _ in range(random.choice((20, 63, 64, 65, 200)) if one_in(random, 60) else 0):
        made = [made] if one_in(random, 2) else {"a": made}
    return made


def damaged(random: Random, good: T) -> T:
    """A copy with a value or a few, at any depth, replaced, added, doubled or taken away."""
    made = json.loads(json.dumps(good))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holder = [made]
        _damage(random, holder)
        made = holder[0]
    return made  # type: ignore[no-any-return] # it is JSON, as `good` is


def _damage(random: Random, holder: list[Any]) -> None:
    at, key = _place(random, holder)
    deed = random.randrange(8)
    if isinstance(at, dict) and deed == 0:
        at.pop(key, None)
    elif isinstance(at, dict) and deed == 1:
        at[text(random)] = at.pop(key, None)
    elif isinstance(at, list) and deed == 0:
        at.append(rarely_deep(random))
    elif isinstance(at, list) and deed == 1:
        at.extend([at[key]] * random.choice((1, 2, 60)))
    elif deed == 2:
        at[key] = [at.get(key) if isinstance(at, dict) else at[key]]
    else:
        at[key] = rarely_deep(random)


def _place(random: Random, holder: list[Any]) -> tuple[Any, Any]:
    """A container of the document, and a key or index in it."""
    at: Any = holder
    key: Any = 0
    while True:
        below = at.get(key) if isinstance(at, dict) else at[key]
        if not isinstance(below, dict | list) or not below or (at is not holder and random.random() < 0.3):
            return at, key
        at = below
        key = random.choice([*at, text(random)]) if isinstance(at, dict) else random.randrange(len(at))


def as_json(random: Random, document: Any) -> bytes:
    """The document as a client might send it; now and then damaged on the way."""
    made = json.dumps(document, ensure_ascii=random.random() < 0.7)
    encoding = "utf-8" if random.random() < 0.95 else random.choice(("utf-16", "utf-8-sig", "utf-32", "utf-16-be"))
    sent = made.encode(encoding, "surrogatepass")
    return cut(random, sent) if one_in(random, 30) else sent


def cut(random: Random, content: bytes) -> bytes:
    """The bytes with one run of them lost, doubled or replaced."""
    first = random.randrange(len(content) + 1)
    last = min(len(content), first + random.choice((0, 1, 1, 2, 8, 100)))
    put = random.choice((b"", b"", b"\0", b"\xff", b"\xed\xa0\x80", random.randbytes(4), content[first:last] * 2))
    return content[:first] + put + content[last:]


def expression(random: Random) -> str:
    """A filter as `property` has them."""
    word = random.choice(WORDS) if random.random() < 0.8 else text(random)
    against = random.choice((text, text, lambda r: str(number(r)), lambda r: ",".join(text(r) for _ in range(3))))
    return f"{word}{random.choice(SIGNS)}{against(random)}"


def order(random: Random) -> str:
    """An order as `orderby` has them."""
    steps = (
        f"{random.choice(('', '+', '-', '--', 'asc:', 'desc:'))}{_word(random)}" for _ in range(random.randrange(4))
    )
    return random.choice((",", ",", " ", ":")).join(steps)


def _word(random: Random) -> str:
    return random.choice(WORDS) if random.random() < 0.8 else text(random)


def token(random: Random, given_out: Sequence[str]) -> str:
    """A token: one that the server gave out, damaged; a document of its shape; or anything."""
    kind = random.randrange(5)
    if kind < 3 and given_out:
        return _damaged_token(random, random.choice(given_out))
    if kind == 3:
        document = {
            "l": value(random) if one_in(random, 3) else 10,
            "p": value(random) if one_in(random, 2) else [expression(random)],
            "o": text(random) if one_in(random, 2) else "-updatedAt",
            "a": value(random) if one_in(random, 2) else [number(random), text(random)],
        }
        return _encoded(random, document)
    return _encoded(random, value(random)) if one_in(random, 2) else text(random)


def _damaged_token(random: Random, good: str) -> str:
    """Each of its parts between dots may hold JSON."""
    parts = good.split(".")
    index = random.randrange(len(parts))
    try:
        document = json.loads(urlsafe_b64decode(parts[index] + "=" * (-len(parts[index]) % 4)))
    except ValueError:
        document = None
    if document is None or one_in(random, 3):
        parts[index] = cut(random, parts[index].encode()).decode(errors="replace")
    else:
        parts[index] = _encoded(random, damaged(random, document))
    return ".".join(parts)


def _encoded(random: Random, document: Any) -> str:
    return urlsafe_b64encode(as_json(random, document)).decode().rstrip("=")


def json_web_token(random: Random, good: str) -> str:
    """A bearer token without a valid signature."""
    if random.random() < 0.6:
        return _damaged_token(random, good)
    head = {"alg": random.choice(("HS256", "none", "RS256", "", "ES256")), "typ": "JWT", "kid": "x"}
    claims = {"client_id": "x", "exp": 2**40, "iat": 0, "iss": "x"}
    deep = b'{"a":' * 5000 if one_in(random, 20) else None
    parts = [_encoded(random, damaged(random, one)) for one in (head, claims)]
    if deep is not None:
        parts[random.randrange(2)] = urlsafe_b64encode(deep).decode()
    return ".".join([*parts, random.choice(("", "x", "AAAA", good.rpartition(".")[2]))])


def escaped(random: Random, given: str) -> str:
    """The text as an address holds it: escaped; now and then less than it must be, but in characters that may come."""
    if one_in(random, 150):
        kept = "".join(one for one in given if "!" <= one <= "~")
        return kept + random.choice(("%", "%zz", "%00", "%c3%28", "%ed%a0%80", "%2", "%252f"))
    return quote(given.encode("utf-8", "surrogatepass"), safe="")


def query(random: Random, parameters: Sequence[tuple[str, str]]) -> str:
    """A query string of these parameters, escaped, now and then damaged."""
    sent = "&".join(f"{escaped(random, name)}={escaped(random, given)}" for name, given in parameters)
    return sent + random.choice(("&", "&&=", "?", ";", "&=", "=")) if one_in(random, 30) else sent


def header(given: str) -> bytes:
    """The text as a header holds it: in bytes that HTTP lets through."""
    return bytes(one for one in given.encode("utf-8", "surrogatepass")[:2000] if one not in b"\0\r\n").strip()
