"""Access rights of a deployment's files: only the service's user, and optionally a group of readers, may read them.

The command creates files for its own user only (`__main__`); existing files are checked, and corrected if this user
owns them.
"""

import contextlib
import grp
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from offtake.deployment.storage_settings import uploads_folder
from offtake.errors import OfftakeError
from offtake.lake.locations import is_local, local_path
from offtake.settings import Settings

_log = logging.getLogger(__name__)

_READERS_UMASK: Final = 0o027
_PRIVATE_FOLDER: Final = 0o700
_PASSED_FOLDER: Final = 0o710
"""A folder that the readers' group may traverse, but not list."""
_READ_FOLDER: Final = 0o2750
"""With the setgid bit: new files and folders inherit the group."""
_PRIVATE_FILE: Final = 0o600
_READ_FILE: Final = 0o640


def guard_files(settings: Settings, *, starts: bool = False) -> None:
    """Create the data directory if it is missing, and restrict access to this user and the readers' group.

    Commands without OFFTAKE_READERS_GROUP keep a server's group, until a server `starts` without it. Raises
    `OfftakeError` when the directory belongs to another user and is open to everybody, and when the readers' group is
    unknown or cannot be set.
    """
    group = _group_id(settings.readers_group)
    if group is None and not starts:
        group = _group_let_in(settings.data_dir)
    if group is not None:
        os.umask(_READERS_UMASK)
    settings.data_dir.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    read_folders = list(_read_folders(settings)) if group is not None else []
    for folder in read_folders:
        folder.mkdir(parents=True, exist_ok=True)
    if _is_ours(settings.data_dir):
        inside = [settings.data_dir, settings.data_dir / "lake"]
        for folder in (one for one in inside if one.is_dir()):
            _set_mode(folder, _PRIVATE_FOLDER if group is None else _PASSED_FOLDER, group)
        for file in _private_files(settings):
            _set_mode(file, _PRIVATE_FILE)
        if (uploads := uploads_folder(settings)) is not None and uploads.is_dir():
            _set_mode(uploads, _PRIVATE_FOLDER)
    if group is not None:
        for folder in read_folders:
            _open_to(folder, group)


def _group_let_in(data_dir: Path) -> int | None:
    """The group that a server has allowed to traverse the data directory."""
    with contextlib.suppress(FileNotFoundError):
        found = data_dir.stat()
        if stat.S_IMODE(found.st_mode) == _PASSED_FOLDER:
            return found.st_gid
    return None


def _open_to(folder: Path, group: int) -> None:
    """Let the group read the folder and this user's files in it; the folder's mode is set last, to mark completion."""
    found = folder.stat()
    if (stat.S_IMODE(found.st_mode), found.st_gid) == (_READ_FOLDER, group):
        return
    for parent, folders, files in os.walk(folder):
        for names, mode in ((folders, _READ_FOLDER), (files, _READ_FILE)):
            for one in (Path(parent, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if not one.is_symlink() and one.stat().st_uid == os.geteuid():
                        _set_mode(one, mode, group)
    _set_mode(folder, _READ_FOLDER, group)


def _group_id(name: str | None) -> int | None:
    if name is None:
        return None
    if name.isascii() and name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OfftakeError(f"OFFTAKE_READERS_GROUP {name} is not a group of this machine.") from None


def _is_ours(folder: Path) -> bool:
    """Whether this user owns the folder. Another user's folder is only closed to others, and otherwise unchanged."""
    found = folder.stat()
    if found.st_uid == os.geteuid():
        return True
    if found.st_mode & stat.S_IRWXO:
        try:
            folder.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IRWXO)
        except PermissionError:
            raise OfftakeError(
                f"{folder} belongs to user {found.st_uid}, and all users of this machine can access it. Give it to "
                f"this service's user, or remove the access: chmod o-rwx {folder}"
            ) from None
    _log.warning("%s belongs to user %d; other users have no access, so it is used unchanged", folder, found.st_uid)
    return False


def _private_files(settings: Settings) -> Iterator[Path]:
    for folder in (settings.data_dir, settings.data_dir / "lake"):
        with contextlib.suppress(FileNotFoundError):
            yield from (one for one in folder.iterdir() if one.is_file() and not one.is_symlink())


def _read_folders(settings: Settings) -> Iterator[Path]:
    if is_local(settings.lake_warehouse):
        yield local_path(settings.lake_warehouse)
    if settings.has_zone_folders:
        yield settings.landing_zone_root


def _set_mode(path: Path, mode: int, group: int | None = None) -> None:
    try:
        found = path.stat()
        if group is not None and found.st_gid != group:
            os.chown(path, -1, group)
        if stat.S_IMODE(found.st_mode) != mode:
            path.chmod(mode)
            if stat.S_IMODE(found.st_mode) & stat.S_IRWXO:
                _log.warning(
                    "%s was accessible to all users of this machine (mode %04o); changed to %04o",
                    path,
                    stat.S_IMODE(found.st_mode),
                    mode,
                )
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise OfftakeError(
            f"The access rights of {path} cannot be set: {error.strerror}. The user may not be a member of the group."
        ) from None
