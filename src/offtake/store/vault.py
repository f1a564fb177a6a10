"""The vault: what is secret is encrypted in envelopes, under master keys kept apart from the database.

Each document has a key of its own (AES-256-GCM), which lies beside it, wrapped by a master key. Changing the master
key wraps those keys anew; no document is opened.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from offtake.errors import OfftakeError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8
_HEAD_BYTES: Final = _ID_BYTES + _NONCE_BYTES + KEY_BYTES + 16


class VaultError(OfftakeError):
    """A secret cannot be sealed or opened; the text never holds any part of it."""


class Vault:
    """Seals small JSON documents. A sealed document opens only under the name it was sealed for."""

    def __init__(self, master_keys: Callable[[], Sequence[bytes]]) -> None:
        """`master_keys`, asked each time, 32 bytes each: the first seals, all of them open."""
        self._master_keys = master_keys

    def encrypt(self, name: str, document: dict[str, Any]) -> bytes:
        """The document encrypted: master key's id (8 bytes), nonce and wrapped key (60), nonce (12), ciphertext."""
        key = AESGCM.generate_key(8 * KEY_BYTES)
        return self._wrap(name, key) + _encrypt(key, name, json.dumps(document).encode())

    def decrypt(self, name: str, sealed: bytes) -> dict[str, Any]:
        """What was sealed under `name`; raises `VaultError` when key, name or bytes are not the ones sealed."""
        key = self._unwrap(name, sealed)
        document: dict[str, Any] = json.loads(_decrypt(key, name, sealed[_HEAD_BYTES:]))
        return document

    def reencrypt(self, name: str, sealed: bytes) -> bytes:
        """The same document under the newest master key; raises `VaultError` as `decrypt` does."""
        return self._wrap(name, self._unwrap(name, sealed)) + sealed[_HEAD_BYTES:]

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest master key wrapped it."""
        return key_id(self._master_keys()[0]) == key_id_of(sealed)

    def _wrap(self, name: str, key: bytes) -> bytes:
        newest = self._master_keys()[0]
        return key_id(newest) + _encrypt(newest, name, key)

    def _unwrap(self, name: str, sealed: bytes) -> bytes:
        for master in self._master_keys():
            if key_id(master) == key_id_of(sealed):
                return _decrypt(master, name, sealed[_ID_BYTES:_HEAD_BYTES])
        raise VaultError("A stored secret was encrypted with another vault key. Start with the key that wrote it.")


def key_id(master: bytes) -> bytes:
    """What names a master key: 8 bytes that do not tell it."""
    return hashlib.sha256(master).digest()[:_ID_BYTES]


def key_id_of(sealed: bytes) -> bytes:
    """The name of the master key that a sealed document needs."""
    return sealed[:_ID_BYTES]


def _encrypt(key: bytes, name: str, text: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text, name.encode())


def _decrypt(key: bytes, name: str, box: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError):
        raise VaultError(f"The stored secret of {name} was altered and cannot be opened. Enter it again.") from None
