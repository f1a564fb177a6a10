"""Streams encrypted and decrypted by the real gpg: complete, in bounded memory, without leftovers."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offtake.errors import DeliveryError
from offtake.formats import pgp
from tests.keyring import UNUSABLE, USABLE, Keyring
from tests.matrix import examples

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Assert that no folder, process or agent is left after a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.glob("offtake-pgp-*")) == []
    assert of_folder(tmp_path) == []


def of_folder(folder: Path) -> list[psutil.Process]:
    """Every process that uses one of our folders, including zombie children."""
    found = [one for one in psutil.Process().children() if one.status() == psutil.STATUS_ZOMBIE]
    named = f"{folder}/offtake-pgp-"
    return found + [one for one in psutil.process_iter() if any(named in word for word in words_of(one))]


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def the_child() -> psutil.Process:
    (child,) = (one for one in psutil.Process().children() if one.name() == "gpg")
    return child


def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)


def many(count: int) -> Iterator[bytes]:
    """The same MiB `count` times."""
    block = noise(MIB)
    return (block for _ in range(count))


@pytest.mark.parametrize("kind", USABLE)
def test_encrypted_bytes_are_decrypted_unchanged(keys: Keyring, kind: str) -> None:
    assert pgp.check_key(keys.key(kind)) is None
    for size in (0, 1, 5 * MIB + 3):
        plain = noise(size)
        message = b"".join(pgp.encrypt([plain], keys.key(kind)))
        assert plain == keys.decrypt(message)
        assert plain[:64] not in message or size < 64


@given(pieces=st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 300_000).map(noise)), max_size=12))
@settings(max_examples=examples(25))
def test_chunk_sizes_do_not_affect_the_plaintext(keys: Keyring, pieces: list[bytes]) -> None:
    assert keys.decrypt(b"".join(pgp.encrypt(pieces, keys.key("rsa alone")))) == b"".join(pieces)


def test_every_key_gets_aes_256_without_compression(keys: Keyring) -> None:
    plain = b"a" * MIB
    for kind in ("rsa", "without preferences"):
        message = b"".join(pgp.encrypt([plain], keys.key(kind)))
        assert keys.cipher_of(message) == "9"
        assert MIB < len(message) < MIB + 10_000


def test_memory_stays_bounded(keys: Keyring) -> None:
    me, start, length = psutil.Process(), 0, 0
    peak = child_peak = 0
    for number, chunk in enumerate(pgp.encrypt(many(300), keys.key("rsa"))):
        length += len(chunk)
        start = start or me.memory_info().rss
        peak = max(peak, me.memory_info().rss)
        if number % 10 == 0 and number < 280:
            child_peak = max(child_peak, the_child().memory_info().rss)
    assert length > 300 * MIB
    assert peak - start < 16 * MIB
    assert 0 < child_peak < 40 * MIB


def test_input_is_consumed_only_on_demand(keys: Keyring) -> None:
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for block in many(200):
            taken += 1
            yield block

    stream = pgp.encrypt(counted(), keys.key("rsa"))
    next(stream)
    time.sleep(0.2)
    assert taken <= 4
    assert sum(map(len, stream)) > 198 * MIB


def test_errors_of_the_chunks_are_raised(keys: Keyring) -> None:
    # An exception type that is also caught when writing to gpg.
    raised = BrokenPipeError("the rows are gone")

    def failing() -> Iterator[bytes]:
        yield from many(3)
        raise raised

    with pytest.raises(BrokenPipeError) as caught:
        list(pgp.encrypt(failing(), keys.key("rsa")))
    assert caught.value is raised


def test_an_abandoned_stream_leaves_nothing_running(keys: Keyring) -> None:
    ended = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield noise(MIB)
        finally:
            ended.append(True)

    stream = pgp.encrypt(endless(), keys.key("rsa"))
    next(stream)
    child = the_child()
    child.suspend()  # a stopped process cannot end by itself
    stream.close()
    assert not child.is_running()
    assert ended == [True]


def test_a_killed_child_is_an_error_and_not_a_short_stream(keys: Keyring) -> None:
    stream = pgp.encrypt(many(50), keys.key("rsa"))
    for _ in range(5):
        next(stream)
    the_child().kill()
    with pytest.raises(DeliveryError, match="ended early, with status -9") as caught:
        list(stream)
    assert caught.value.transient


def test_a_child_killed_while_it_waits_for_the_end_is_an_error(keys: Keyring) -> None:
    def killing() -> Iterator[bytes]:
        yield b"a few bytes, which are in the pipe"
        the_child().kill()

    with pytest.raises(DeliveryError, match="status -9"):
        list(pgp.encrypt(killing(), keys.key("rsa")))


def test_a_program_that_stops_early_without_an_error_is_an_error(
    keys: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, program = keys.key("rsa"), tmp_path / "bin" / "gpg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec /usr/bin/head -c 100000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    with pytest.raises(DeliveryError, match="ended early, with status 0"):
        list(pgp.encrypt(many(5), key))


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_key_is_refused_with_the_reason(keys: Keyring, kind: str) -> None:
    problem = pgp.check_key(keys.key(kind))
    assert problem is not None
    assert problem.startswith(UNUSABLE[kind])
    if kind in ("two", "two blocks", "not armored"):
        return  # gpg would accept these, so only the check of new keys refuses them
    got: list[bytes] = []
    with pytest.raises(DeliveryError) as caught:
        got.extend(pgp.encrypt(many(3), keys.key(kind)))
    assert (caught.value.code, caught.value.transient, got) == ("EXPORT-2004-400", False, [])
    assert problem in str(caught.value)


def test_without_gpg_keys_are_refused_and_nothing_is_sent(
    keys: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = keys.key("rsa")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "is not installed" in str(pgp.check_key(key))
    with pytest.raises(DeliveryError, match="is not installed") as caught:
        list(pgp.encrypt(many(1), key))
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2004-400", False)


def test_the_child_gets_no_environment_or_settings_of_ours(keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFTAKE_VAULT_KEY", "xMARKEDx")
    stream = pgp.encrypt(many(5), keys.key("rsa"))
    next(stream)
    assert set(the_child().environ()) == {"PATH", "LC_ALL"}
    assert sum(map(len, stream)) > 0


_ENDLESS = """
import sys
from offtake.formats import pgp
def zeros():
    while True:
        yield bytes(1 << 20)
for _ in pgp.encrypt(zeros(), sys.stdin.buffer.read()):
    print("+", flush=True)
"""


def test_the_child_ends_when_we_are_killed(keys: Keyring, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ENDLESS]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "apart")}
    (tmp_path / "apart").mkdir()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as ours:
        assert ours.stdin is not None
        assert ours.stdout is not None
        ours.stdin.write(keys.key("rsa"))
        ours.stdin.close()
        ours.stdout.readline()
        (child,) = psutil.Process(ours.pid).children()
        ours.kill()
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def eventually(held: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < until
        time.sleep(0.02)
