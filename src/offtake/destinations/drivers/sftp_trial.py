"""Finds out how an SFTP server allows files to be put in place, by trying with a small file."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

from offtake.destinations.drivers.sftp_errors import SftpError, translate, translating_errors
from offtake.destinations.drivers.sftp_files import UNTOLD, RemoteFiles, RemoteFolder, folder_of, within
from offtake.destinations.drivers.sftp_placing import FOLDER, Placing, candidates
from offtake.destinations.drivers.sftp_protocol import READ, SftpClient
from offtake.destinations.drivers.sftp_session import SftpConnection
from offtake.errors import DeliveryError

_CONTENT: Final = b"Offtake wrote this file to test how files can be put in place; it may be deleted.\n"


def find_placing(session: SftpConnection, folder: RemoteFolder, fixed: dict[str, object]) -> Placing:
    """The first `Placing` that works in the folder; fields in `fixed` keep their value.

    Raises `DeliveryError`: the server's refusal of the default way if none works, or an outage.
    """
    client = session.client()
    with translating_errors(folder.uri(folder.target_folder), "write files"):
        return session.run(client, _find(client, folder, fixed))


async def _find(client: SftpClient, folder: RemoteFolder, fixed: dict[str, object]) -> Placing:
    refusals: list[SftpError | DeliveryError] = []
    missing = await _missing_folders(client, folder)
    for candidate in candidates(fixed):
        if candidate.in_place and not all(_is_rule(one) for one in refusals):
            break
        # The trial itself does not depend on reading back.
        trial = replace(folder, placing=replace(candidate, read_back=False))
        key = within(folder.target_folder, f"offtake-probe-{uuid4()}")
        try:
            await _put(client, trial, key)
        except (SftpError, DeliveryError) as error:
            refusals.append(error)
            continue
        found = candidate if "read_back" in fixed else replace(candidate, read_back=await _reads(client, folder, key))
        await _tidy(client, folder, key, missing)
        return found
    raise _failure(refusals, folder, fixed)


def _failure(
    refusals: Sequence[SftpError | DeliveryError], folder: RemoteFolder, fixed: Mapping[str, object]
) -> DeliveryError:
    """The server's refusal of the default way, what was tried, and which option may help."""
    refusal, address = refusals[0], folder.uri(folder.target_folder)
    error = translate(refusal, address, "write and rename files") if isinstance(refusal, SftpError) else refusal
    if "temporary_name" in fixed:
        hint = f" Only temporaryName {fixed['temporary_name']} was tried; remove it to try the others."
    elif not all(_is_rule(one) for one in refusals):
        hint = " If the server does not allow renaming, set temporaryName to NONE."
    elif fixed.get("exclusive_create") is False:
        hint = " If the server does not allow renaming, remove exclusiveCreate false."
    else:
        hint = " Neither renaming (temporaryName DOT, SUFFIX, FOLDER) nor creating under the final name (NONE) worked."
    return DeliveryError(error.kind, error.message, f"{error.remedy}{hint}", transient=error.transient)


def _is_rule(refusal: SftpError | DeliveryError) -> bool:
    """Whether the refusal is a rule of the server, and not a transient failure.

    A transient failure (for example, a virus scanner holds the file) does not mean that files cannot be renamed:
    falling back to final names would weaken the guarantees for consumers.
    """
    return isinstance(refusal, UNTOLD) or (isinstance(refusal, DeliveryError) and not refusal.transient)


async def _put(client: SftpClient, folder: RemoteFolder, key: str) -> None:
    files = RemoteFiles(client, folder)
    temporary = folder.temporary_key(key, 0)
    try:
        async with asyncio.timeout(folder.stall):
            handle = await files.create(key, temporary)
            await client.confirm_written(client.write(handle, 0, memoryview(_CONTENT)))
            await client.close(handle)
            await files.put_in_place(key, temporary)
    except (SftpError, DeliveryError):
        with contextlib.suppress(SftpError):
            await client.remove(folder.path(temporary))
        raise


async def _reads(client: SftpClient, folder: RemoteFolder, key: str) -> bool:
    """Whether the file and its size can be read."""
    async with asyncio.timeout(folder.stall):
        try:
            found = await RemoteFiles(client, folder).attributes(key)
            handle = await client.open(folder.path(key), READ)
            content = await client.read(handle, 0, len(_CONTENT))
            await client.close(handle)
        except SftpError:
            return False
    return found is not None and found.size == len(content) == len(_CONTENT)


async def _missing_folders(client: SftpClient, folder: RemoteFolder) -> list[str]:
    """The folders that the trial will create, deepest first."""
    missing = [within(folder.target_folder, FOLDER)]
    at = folder.target_folder
    with contextlib.suppress(*UNTOLD):
        async with asyncio.timeout(folder.stall):
            while at and await client.stat(folder.path(at)) is None:
                missing.append(at)
                at = folder_of(at)
    return missing


async def _tidy(client: SftpClient, folder: RemoteFolder, key: str, missing: list[str]) -> None:
    """Remove the file and the created folders, as far as the server allows."""
    async with asyncio.timeout(folder.stall):
        with contextlib.suppress(SftpError):
            await client.remove(folder.path(key))
        for one in missing:
            with contextlib.suppress(SftpError):
                await client.remove_folder(folder.path(one))
