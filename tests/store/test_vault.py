from pathlib import Path

import pytest
from pydantic import SecretStr

from offtake.store.vault import KEY_FILE, Vault, VaultError, open_vault


def test_what_is_sealed_opens_under_the_same_name_only() -> None:
    vault = Vault(b"k" * 32)
    sealed = vault.seal("one", {"s3SecretKey": "marked"})
    assert vault.open("one", sealed) == {"s3SecretKey": "marked"}
    with pytest.raises(VaultError):
        vault.open("two", sealed)


def test_what_is_sealed_does_not_show_what_it_holds() -> None:
    assert b"marked" not in Vault(b"k" * 32).seal("one", {"s3SecretKey": "marked"})


def test_another_key_or_altered_bytes_are_refused_without_a_secret() -> None:
    sealed = Vault(b"k" * 32).seal("one", {"s3SecretKey": "marked"})
    with pytest.raises(VaultError, match="another vault key"):
        Vault(b"o" * 32).open("one", sealed)
    with pytest.raises(VaultError, match="altered") as caught:
        Vault(b"k" * 32).open("one", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert "marked" not in str(caught.value)


def test_the_key_file_is_private_and_stays(tmp_path: Path) -> None:
    sealed = open_vault(tmp_path, None).seal("one", {"a": 1})
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert open_vault(tmp_path, None).open("one", sealed) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_vault(tmp_path, None)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(VaultError, match="0600"):
        open_vault(tmp_path, None)


@pytest.mark.parametrize("key", ["not base64!", "c2hvcnQ="])
def test_a_configured_key_of_another_size_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(VaultError, match="32 bytes"):
        open_vault(tmp_path, SecretStr(key))
