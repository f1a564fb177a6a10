import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from offtake.store.vault import Vault, VaultError
from offtake.store.vault_keys import KEY_FILE, KeyFile, configured_keys

OLD, NEW = b"k" * 32, b"n" * 32


def vault(*keys: bytes) -> Vault:
    return Vault(lambda: keys)


def test_what_is_sealed_opens_under_the_same_name_only() -> None:
    sealed = vault(OLD).encrypt("one", {"s3SecretKey": "marked"})
    assert vault(OLD).decrypt("one", sealed) == {"s3SecretKey": "marked"}
    with pytest.raises(VaultError):
        vault(OLD).decrypt("two", sealed)


def test_what_is_sealed_does_not_show_what_it_holds_nor_looks_alike_twice() -> None:
    sealed = [vault(OLD).encrypt("one", {"s3SecretKey": "marked"}) for _ in range(2)]
    assert b"marked" not in sealed[0]
    assert sealed[0][8:] != sealed[1][8:]


def test_another_key_or_altered_bytes_are_refused_without_a_secret() -> None:
    sealed = vault(OLD).encrypt("one", {"s3SecretKey": "marked"})
    with pytest.raises(VaultError, match="another vault key"):
        vault(NEW).decrypt("one", sealed)
    for position in range(8, len(sealed)):
        altered = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(VaultError, match="altered") as caught:
            vault(OLD).decrypt("one", altered)
        assert "marked" not in str(caught.value)
    for length in range(len(sealed)):
        with pytest.raises(VaultError):
            vault(OLD).decrypt("one", sealed[:length])


def test_a_document_moves_to_the_newest_key_without_being_encrypted_again() -> None:
    sealed = vault(OLD).encrypt("one", {"a": 1})
    both = vault(NEW, OLD)
    moved = both.reencrypt("one", sealed)
    assert (both.is_current(sealed), both.is_current(moved)) == (False, True)
    assert vault(NEW).decrypt("one", moved) == both.decrypt("one", sealed) == {"a": 1}
    with pytest.raises(VaultError, match="another vault key"):
        vault(OLD).decrypt("one", moved)


def test_the_key_file_is_private_and_stays(tmp_path: Path) -> None:
    sealed = Vault(KeyFile(tmp_path / KEY_FILE).keys).encrypt("one", {"a": 1})
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert Vault(KeyFile(tmp_path / KEY_FILE).keys).decrypt("one", sealed) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_vault_follows_its_key_file(tmp_path: Path) -> None:
    file, elsewhere = KeyFile(tmp_path / KEY_FILE), KeyFile(tmp_path / KEY_FILE)
    opened = Vault(file.keys)
    sealed = opened.encrypt("one", {"a": 1})
    elsewhere.add()
    assert opened.decrypt("one", sealed) == {"a": 1}
    assert not opened.is_current(sealed)
    assert opened.is_current(opened.encrypt("one", {}))
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    KeyFile(tmp_path / KEY_FILE).keys()
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(VaultError, match="0600"):
        KeyFile(tmp_path / KEY_FILE).keys()


def test_an_empty_key_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).touch(0o600)
    with pytest.raises(VaultError, match="empty"):
        KeyFile(tmp_path / KEY_FILE).keys()


@pytest.mark.parametrize("key", ["not base64!", "c2hvcnQ="])
def test_a_configured_key_of_another_size_is_refused(key: str) -> None:
    with pytest.raises(VaultError, match="32 bytes"):
        configured_keys(SecretStr(key), None)


def test_configured_keys_come_newest_first() -> None:
    text = [base64.b64encode(key).decode() for key in (NEW, OLD, b"o" * 32)]
    assert configured_keys(SecretStr(text[0]), SecretStr(f"{text[1]}, {text[2]}")) == (NEW, OLD, b"o" * 32)
