"""How an SFTP server takes files: tried with a small one, until a way is found that it allows."""

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

_CONTENT: Final = b"Offtake was here to see how files can be put in place; this file may be deleted.\n"


def find_placing(session: SftpConnection, folder: RemoteFolder, given: dict[str, object]) -> Placing:
    """The first way in which the server takes a file into the folder; what is `given` stays as it is.

    Raises `DeliveryError`: what the server said of the usual way, where it allows none, or that it went away.
    """
    client = session.client()
    with translating_errors(folder.uri(folder.kept), "write files"):
        return session.run(client, _find(client, folder, given))


async def _find(client: SftpClient, folder: RemoteFolder, given: dict[str, object]) -> Placing:
    refusals: list[SftpError | DeliveryError] = []
    missing = await _missing_folders(client, folder)
    for candidate in candidates(given):
        if candidate.in_place and not all(_is_rule(one) for one in refusals):
            break
        # Where files are put in place is seen without looking back.
        trial = replace(folder, placing=replace(candidate, read_back=False))
        key = within(folder.kept, f"offtake-probe-{uuid4()}")
        try:
            await _put(client, trial, key)
        except (SftpError, DeliveryError) as error:
            refusals.append(error)
            continue
        found = candidate if "read_back" in given else replace(candidate, read_back=await _reads(client, folder, key))
        await _tidy(client, folder, key, missing)
        return found
    raise _failure(refusals, folder, given)


def _failure(
    refusals: Sequence[SftpError | DeliveryError], folder: RemoteFolder, given: Mapping[str, object]
) -> DeliveryError:
    """What the server said of the usual way, what was tried, and which option may help."""
    refusal, where = refusals[0], folder.uri(folder.kept)
    error = translate(refusal, where, "write and rename files") if isinstance(refusal, SftpError) else refusal
    if "temporary_name" in given:
        hint = f" Only temporaryName {given['temporary_name']} was tried; without it, the others are."
    elif not all(_is_rule(one) for one in refusals):
        hint = " If the server lets nobody rename files, set temporaryName to NONE."
    elif given.get("exclusive_create") is False:
        hint = " A server that lets nobody rename files is delivered to only without exclusiveCreate false."
    else:
        hint = " Neither renaming (temporaryName DOT, SUFFIX, FOLDER) nor creating under the final name (NONE) went."
    return DeliveryError(error.kind, error.message, f"{error.remedy}{hint}", transient=error.transient)


def _is_rule(refusal: SftpError | DeliveryError) -> bool:
    """Whether the server will say so again.

    From a failure that may pass, such as that of a file which a scanner holds, it does not follow that files cannot be
    renamed: that would give up what consumers are promised.
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
    """Whether the server tells the size of a file, and gives it back."""
    async with asyncio.timeout(folder.stall):
        try:
            found = await RemoteFiles(client, folder).attributes(key)
            handle = await client.open(folder.path(key), READ)
            given_back = await client.read(handle, 0, len(_CONTENT))
            await client.close(handle)
        except SftpError:
            return False
    return found is not None and found.size == len(given_back) == len(_CONTENT)


async def _missing_folders(client: SftpClient, folder: RemoteFolder) -> list[str]:
    """The folders that putting a file there will make, the deepest first."""
    missing = [within(folder.kept, FOLDER)]
    at = folder.kept
    with contextlib.suppress(*UNTOLD):
        async with asyncio.timeout(folder.stall):
            while at and await client.stat(folder.path(at)) is None:
                missing.append(at)
                at = folder_of(at)
    return missing


async def _tidy(client: SftpClient, folder: RemoteFolder, key: str, missing: list[str]) -> None:
    """Leave the place as it was, as far as the server lets us."""
    async with asyncio.timeout(folder.stall):
        with contextlib.suppress(SftpError):
            await client.remove(folder.path(key))
        for one in missing:
            with contextlib.suppress(SftpError):
                await client.remove_folder(folder.path(one))
