"""Sources of master keys: the settings, or the deployment's key file with the newest key first."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from offtake.store.vault import KEY_BYTES, VaultError

KEY_FILE: Final = "vault.key"


def configured_keys(newest: SecretStr, older: SecretStr | None) -> tuple[bytes, ...]:
    """The keys from the settings; `older`: comma-separated. Raises `VaultError`."""
    texts = [newest.get_secret_value(), *(older.get_secret_value().split(",") if older else [])]
    return tuple(_key(text.strip()) for text in texts if text.strip())


class KeyFile:
    """A file (mode 0600) of Base64 keys, one per line, created at first use. It is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet."""
        self.path = path
        self._read: tuple[tuple[int, int, int], tuple[bytes, ...]] | None = None

    def keys(self) -> tuple[bytes, ...]:
        """The keys, the newest first; raises `VaultError` when one is invalid, or other users can read the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self._make()
        state = self.path.stat()
        if state.st_mode & 0o077:
            raise VaultError(f"The vault key file {self.path.name} can be read by other users. Set its mode to 0600.")
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        if self._read is None or self._read[0] != stamp:
            self._read = stamp, parse_keys(self.path.read_text())
        if not self._read[1]:
            raise VaultError(f"The vault key file {self.path.name} is empty. Restore its content from your backup.")
        return self._read[1]

    def add(self) -> None:
        """Generate a key and make it the newest."""
        self.replace([os.urandom(KEY_BYTES), *self.keys()])

    def replace(self, keys: Sequence[bytes]) -> None:
        """Replace the file's keys, newest first, atomically and durably."""
        self._write("".join(f"{base64.b64encode(key).decode()}\n" for key in keys)).replace(self.path)

    def _make(self) -> None:
        # A hard link to a finished file: of two concurrent first starts, one wins, and the key is complete.
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


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Parse the text of a key file, newest key first; raises `VaultError`."""
    return tuple(_key(line) for line in text.split())


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultError(
            "A vault key must be 32 bytes in Base64 (OFFTAKE_VAULT_KEY, OFFTAKE_VAULT_OLD_KEYS, or the file vault.key)."
        )
    return key
