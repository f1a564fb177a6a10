"""References to secrets, resolved at the client."""

import base64
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from offtake.declarations.secrets import Resolver, is_reference
from offtake.errors import OfftakeError


def test_references_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of a file\n")
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return "typed"

    resolver = Resolver(ask, {"NAME": "of the environment"})
    assert resolver.resolve("env:NAME", "label", tmp_path) == "of the environment"
    assert resolver.resolve("file:secret", "label", tmp_path) == "of a file"
    assert resolver.resolve("prompt:", "label", tmp_path) == "typed"
    assert resolver.resolve("prompt:", "label", tmp_path) == "typed"
    assert resolver.resolve("prompt:Other", "label", tmp_path) == "typed"
    assert asked == ["label", "Other"]


def test_files_of_keys_are_encoded_once(tmp_path: Path) -> None:
    armored = b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
    (tmp_path / "key").write_bytes(armored)
    (tmp_path / "encoded").write_bytes(base64.b64encode(armored))
    for name in ("key", "encoded"):
        found = Resolver().resolve(f"file:{name}", "", tmp_path, encode=True)
        assert base64.b64decode(found) == armored


@pytest.mark.parametrize("reference", ["env:ABSENT", "env:EMPTY", "file:absent", "file:empty", "file:.", "prompt:"])
def test_what_cannot_be_resolved_is_an_error(tmp_path: Path, reference: str) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(OfftakeError, match="cannot be"):
        Resolver(environment={"EMPTY": ""}).resolve(reference, "", tmp_path)


def test_only_texts_with_a_prefix_are_references() -> None:
    assert [is_reference(one) for one in ("env:A", "environment", 5, None, "prompt:")] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_a_file_that_does_not_end_is_too_large(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless")
    read = threading.Event()

    def write() -> None:
        with suppress(BrokenPipeError), (tmp_path / "endless").open("wb", buffering=0) as pipe:
            pipe.write(b"x" * 1_100_000)
            read.wait(10)

    writer = threading.Thread(target=write)
    writer.start()
    begun = time.monotonic()
    with pytest.raises(OfftakeError, match="endless is too large"):
        Resolver().resolve("file:endless", "", tmp_path)
    assert time.monotonic() - begun < 5
    read.set()
    writer.join()
