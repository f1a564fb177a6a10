"""The vault: envelope encryption of secrets, under master keys that are stored outside the database.

Each document has its own data key (AES-256-GCM), stored next to it, wrapped by a master key. Rotating the master key
re-wraps the data keys; no document is decrypted.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from offtake.documents import Json
from offtake.errors import OfftakeError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8
_HEAD_BYTES: Final = _ID_BYTES + _NONCE_BYTES + KEY_BYTES + 16


class VaultError(OfftakeError):
    """A secret cannot be encrypted or decrypted; the message never contains any part of it."""


class Vault:
    """Encrypts small JSON documents. Each is bound to a name (as associated data), and decrypts only with it."""

    def __init__(self, master_keys: Callable[[], Sequence[bytes]]) -> None:
        """`master_keys` is called for each operation; 32 bytes each: the first encrypts, all of them decrypt."""
        self._master_keys = master_keys

    def encrypt(self, name: str, document: Json) -> bytes:
        """The encrypted document: master key's id (8 bytes), nonce and wrapped key (60), nonce (12), ciphertext."""
        key = AESGCM.generate_key(8 * KEY_BYTES)
        return self._wrap(name, key) + _encrypt(key, name, json.dumps(document).encode())

    def decrypt(self, name: str, sealed: bytes) -> Json:
        """The document that was encrypted under `name`; raises `VaultError` when key, name or bytes do not match."""
        key = self._unwrap(name, sealed)
        document: Json = json.loads(_decrypt(key, name, sealed[_HEAD_BYTES:]))
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
        raise VaultError(
            "A stored secret was encrypted with another vault key. Start Offtake with that key (OFFTAKE_VAULT_KEY)."
        )


def key_id(master: bytes) -> bytes:
    """The id of a master key: 8 bytes of its hash, which do not reveal it."""
    return hashlib.sha256(master).digest()[:_ID_BYTES]


def key_id_of(sealed: bytes) -> bytes:
    """The id of the master key that an encrypted document needs."""
    return sealed[:_ID_BYTES]


def _encrypt(key: bytes, name: str, text: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text, name.encode())


def _decrypt(key: bytes, name: str, box: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError):
        raise VaultError(f"The stored secret of {name} was altered and cannot be decrypted. Enter it again.") from None
