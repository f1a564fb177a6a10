"""Files of a deployment belong to its service: nobody else reads them, but a group that is named.

The command makes what it makes for this user alone (`__main__`); what is there already is checked, and mended where it
is ours.
"""

import contextlib
import grp
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from offtake.errors import OfftakeError
from offtake.lake.locations import is_local, local_path
from offtake.settings import Settings

_log = logging.getLogger(__name__)

_READERS_UMASK: Final = 0o027
_PRIVATE_FOLDER: Final = 0o700
_PASSED_FOLDER: Final = 0o710
"""A folder that the readers' group walks through, without seeing what is in it."""
_READ_FOLDER: Final = 0o2750
"""New files and folders in it get its group."""
_PRIVATE_FILE: Final = 0o600
_READ_FILE: Final = 0o640


def guard_files(settings: Settings, *, starts: bool = False) -> None:
    """Make the data directory where there is none, and let nobody else into it but the readers' group.

    The group that a server was given stays for commands that are not given it, until a server `starts` without it.

    Raises `OfftakeError` when it belongs to somebody else and everybody can get at it, and when the readers' group is
    not known or may not be given folders.
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
        if settings.uploads_root.is_dir():
            _set_mode(settings.uploads_root, _PRIVATE_FOLDER)
    if group is not None:
        for folder in read_folders:
            _open_to(folder, group)


def _group_let_in(data_dir: Path) -> int | None:
    """The group that a server has let walk through the data directory."""
    with contextlib.suppress(FileNotFoundError):
        found = data_dir.stat()
        if stat.S_IMODE(found.st_mode) == _PASSED_FOLDER:
            return found.st_gid
    return None


def _open_to(folder: Path, group: int) -> None:
    """Let the group read the folder with all that is ours in it; the folder comes last: it says that all is done."""
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
        raise OfftakeError(f"OFFTAKE_READERS_GROUP {name} is no group of this machine.") from None


def _is_ours(folder: Path) -> bool:
    """Whether the folder is this user's; one of somebody else is left as it is, once others have no access to it."""
    found = folder.stat()
    if found.st_uid == os.geteuid():
        return True
    if found.st_mode & stat.S_IRWXO:
        try:
            folder.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IRWXO)
        except PermissionError:
            raise OfftakeError(
                f"{folder} belongs to user {found.st_uid}, and everybody on this machine can get at it. Give it to "
                f"this service's user, or let nobody else in: chmod o-rwx {folder}"
            ) from None
    _log.warning("%s belongs to user %d; others have no access, so it is used as it is", folder, found.st_uid)
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
                    "%s was open to everybody on this machine (mode %04o); it is %04o now",
                    path,
                    stat.S_IMODE(found.st_mode),
                    mode,
                )
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise OfftakeError(
            f"The access to {path} cannot be set: {error.strerror}. Its group may not be one of this user's."
        ) from None
