"""Where master keys come from: the settings, or a file of this deployment with the newest first."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from offtake.store.vault import KEY_BYTES, VaultError

KEY_FILE: Final = "vault.key"


def configured_keys(newest: SecretStr, older: SecretStr | None) -> tuple[bytes, ...]:
    """The keys of the settings; `older` may hold several, with commas. Raises `VaultError`."""
    texts = [newest.get_secret_value(), *(older.get_secret_value().split(",") if older else [])]
    return tuple(_key(text.strip()) for text in texts if text.strip())


class KeyFile:
    """A file (mode 0600) of Base64 keys, one a line, made at first use. It is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet."""
        self.path = path
        self._read: tuple[tuple[int, int, int], tuple[bytes, ...]] | None = None

    def keys(self) -> tuple[bytes, ...]:
        """The keys, the newest first; raises `VaultError` when one is no key, or others can read the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self._make()
        state = self.path.stat()
        if state.st_mode & 0o077:
            raise VaultError(f"The vault key {self.path.name} can be read by others. Set its mode to 0600.")
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        if self._read is None or self._read[0] != stamp:
            self._read = stamp, keys_in(self.path.read_text())
        if not self._read[1]:
            raise VaultError(f"The vault key file {self.path.name} is empty. Put the key back that was in it.")
        return self._read[1]

    def add(self) -> None:
        """A new key becomes the newest."""
        self.replace([os.urandom(KEY_BYTES), *self.keys()])

    def replace(self, keys: Sequence[bytes]) -> None:
        """Exactly these keys, the newest first; whole, also when the power goes."""
        self._write("".join(f"{base64.b64encode(key).decode()}\n" for key in keys)).replace(self.path)

    def _make(self) -> None:
        # Linking a finished file in place lets two first starts agree on one whole key.
        fresh = self._write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
        try:
            self.path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()

    def _write(self, text: str) -> Path:
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        handle = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return fresh


def keys_in(text: str) -> tuple[bytes, ...]:
    """The keys of a key file's text, the newest first; raises `VaultError`."""
    return tuple(_key(line) for line in text.split())


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultError(
            "A vault key must be the Base64 form of 32 bytes "
            "(OFFTAKE_VAULT_KEY, OFFTAKE_VAULT_OLD_KEYS, or the file vault.key)."
        )
    return key
