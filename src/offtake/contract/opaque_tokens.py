"""Tokens that clients send back as they got them: continuation tokens, query ids, markers, secrets of links.

They are base64 for URLs without padding: clients split links at `=`. What they hold is input like any other, as
clients can change them.
"""

import base64
import json
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def encode(document: object) -> str:
    """The JSON document as a token."""
    return encode_bytes(json.dumps(document).encode())


def decode(token: str, form: TypeAdapter[T]) -> T:
    """What a token holds; raises `ValueError` when it is not in that form."""
    return form.validate_json(decode_bytes(token))


def encode_bytes(content: bytes) -> str:
    """The bytes as a token."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode_bytes(token: str) -> bytes:
    """The bytes of a token; raises `ValueError` when it is not one."""
    return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
