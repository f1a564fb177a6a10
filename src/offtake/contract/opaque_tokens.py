"""Opaque tokens that clients send back unchanged: continuation tokens, query ids, markers, secrets of links.

They are URL-safe Base64 without padding, because clients split links at `=`. Clients can change them, so their content
is untrusted input.
"""

import base64
import json
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def encode(document: object) -> str:
    """Encode a document as JSON in a token."""
    return encode_bytes(json.dumps(document).encode())


def decode(token: str, form: TypeAdapter[T]) -> T:
    """Decode and validate a token's JSON; raises `ValueError` when it is invalid."""
    return form.validate_json(decode_bytes(token))


def encode_bytes(content: bytes) -> str:
    """Encode bytes as a token."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode_bytes(token: str) -> bytes:
    """Decode the bytes of a token; raises `ValueError` when it is malformed."""
    return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
