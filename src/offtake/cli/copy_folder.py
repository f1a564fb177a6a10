"""Private folders of copies, which hold a temporary deployment while a copy is in progress."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offtake.cli import output
from offtake.client.profiles import user_folder
from offtake.errors import OfftakeError

_ABOUT: Final = "copy.json"
_LOCK: Final = "copy.lock"
_KEPT_SECONDS: Final = 7 * 86_400


@dataclass
class CopyFolder:
    """The folder of one copy. `done`: it is removed at the end; else a repeated command continues it."""

    path: Path
    done: bool = False


def base_folder() -> Path:
    """The folder of all copies: below `XDG_CACHE_HOME`, else below `~/.cache`."""
    return user_folder("XDG_CACHE_HOME", ".cache") / "copies"


@contextmanager
def private_folder(identity: str, destination: str) -> Iterator[CopyFolder]:
    """The folder of the copy with that identity, for this process alone and readable by this user alone.

    Raises `OfftakeError` when another process holds it.
    """
    base = base_folder()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(base)
    path = base / identity
    path.mkdir(mode=0o700, exist_ok=True)
    with _locked(path) as is_ours:
        if not is_ours:
            raise OfftakeError("The same copy is running already, in another process. Wait until it has ended.")
        _report_others(base, path, destination)
        (path / _ABOUT).write_text(json.dumps({"destination": destination, "at": time.time()}))
        found = CopyFolder(path)
        try:
            yield found
        finally:
            if found.done:
                shutil.rmtree(path, ignore_errors=True)


def _check_private(base: Path) -> None:
    found = base.lstat()
    if not base.is_dir() or base.is_symlink() or found.st_uid != os.geteuid():
        raise OfftakeError(f"{base} must be a folder of this user. Remove it, or set XDG_CACHE_HOME.")
    base.chmod(0o700)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Lock the folder of a copy, as long as the block lasts; False when another process holds it."""
    with (path / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _report_others(base: Path, own: Path, destination: str) -> None:
    """Name interrupted copies to the same destination, whose files may lie there; remove those older than 7 days."""
    for path in base.iterdir():
        if path == own or not path.is_dir():
            continue
        with suppress(OSError, ValueError, KeyError), _locked(path) as is_free:
            about = json.loads((path / _ABOUT).read_bytes())
            if not is_free:
                continue
            if time.time() - about["at"] > _KEPT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
            elif about["destination"] == destination:
                output.note(
                    f"offtake: another copy to {destination} was interrupted; files of it may be there. Repeat its "
                    f"command to complete it, or forget it: rm -r {path}"
                )
