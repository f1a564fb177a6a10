"""The vault: what is secret is encrypted (AES-256-GCM) with a key kept apart from the database."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from offtake.errors import OfftakeError

KEY_FILE: Final = "vault.key"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8


class VaultError(OfftakeError):
    """A secret cannot be sealed or opened; the text never holds any part of it."""


class Vault:
    """Seals small JSON documents. A sealed document opens only under the name it was sealed for."""

    def __init__(self, key: bytes) -> None:
        """`key`: 32 bytes."""
        self._key_id = hashlib.sha256(key).digest()[:_ID_BYTES]
        self._cipher = AESGCM(key)

    def seal(self, name: str, document: dict[str, Any]) -> bytes:
        """The document encrypted: key id (8 bytes), nonce (12), ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._cipher.encrypt(nonce, json.dumps(document).encode(), name.encode())
        return self._key_id + nonce + ciphertext

    def open(self, name: str, sealed: bytes) -> dict[str, Any]:
        """What was sealed under `name`; raises `VaultError` when key, name or bytes are not the ones sealed."""
        if sealed[:_ID_BYTES] != self._key_id:
            raise VaultError("A stored secret was encrypted with another vault key. Start with the key that wrote it.")
        nonce = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        try:
            text = self._cipher.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], name.encode())
        except InvalidTag:
            raise VaultError(f"The stored secret of {name} was altered and cannot be opened. Enter it again.") from None
        document: dict[str, Any] = json.loads(text)
        return document


def open_vault(data_dir: Path, configured: SecretStr | None) -> Vault:
    """The vault with the configured key (Base64 of 32 bytes), else with the key file, made at first use.

    Raises `VaultError` when the key is not 32 bytes, or its file can be read by others.
    """
    text = configured.get_secret_value() if configured else _key_file(data_dir / KEY_FILE)
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise VaultError("The vault key must be the Base64 form of 32 bytes (OFFTAKE_VAULT_KEY or the file vault.key).")
    return Vault(key)


def _key_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_once(path, base64.b64encode(os.urandom(_KEY_BYTES)).decode())
    if path.stat().st_mode & 0o077:
        raise VaultError(f"The vault key {path.name} can be read by others. Set its mode to 0600.")
    return path.read_text().strip()


def _write_once(path: Path, text: str) -> None:
    # Linking a finished file in place lets two first starts agree on one whole key.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
