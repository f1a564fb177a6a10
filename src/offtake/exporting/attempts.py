"""Attempts to write a file, each under its own name, at destinations where a file is visible while it is written.

A file of a failed or superseded attempt holds the same rows as the delivered file. It is removed at once or, if the
destination refuses that, when the run is over. Each name is recorded before anything is written under it.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from offtake.destinations.base import Sink
from offtake.errors import DeliveryError
from offtake.exporting.job import ExportJob
from offtake.failpoints import failpoint
from offtake.store import attempts
from offtake.store.database import Database
from offtake.store.tables import RunPart

_log = logging.getLogger(__name__)

_ATTEMPT: Final = re.compile(r"-([1-9][0-9]*)(-c000[^/]*)$")
"""The attempt number in a part's name, and what follows it (contract, section 16.3)."""


def next_attempt(key: str) -> str:
    """The key of the next attempt to write the file."""
    number, rest = _number(key)
    return _key(key, number + 1, rest)


def earlier_attempts(key: str) -> Iterator[str]:
    """The keys of all attempts before this one."""
    number, rest = _number(key)
    return (_key(key, one, rest) for one in range(1, number))


def remove_failed(job: ExportJob, keys: Mapping[int, str]) -> dict[int, list[str]]:
    """Remove the files of failed attempts (`keys`: by part number). Returns the removed keys, by part number."""
    removed: dict[int, list[str]] = {}
    sink = job.target.open()
    try:
        for number, key in keys.items():
            try:
                sink.delete(key)
            except DeliveryError as error:
                _log.warning("run %s: the file of a failed attempt is removed later: %s", job.run_id, error)
                if error.transient:
                    break
            else:
                removed[number] = [key]
    finally:
        sink.close()
    return removed


def remove_left(sink: Sink, database: Database, run_id: str, parts: Sequence[RunPart]) -> None:
    """Remove the files of superseded attempts at these parts; of a part that never finished, the files of all attempts.

    Raises `DeliveryError` when a file cannot be removed. Every name is tried, including temporary names from before a
    change of the connection: a slow writer may have written again after an earlier removal.
    """
    losing = {part.number: _losing(part) for part in parts}
    removed: dict[int, list[str]] = {number: [] for number in losing}
    refusal: DeliveryError | None = None
    sink.clear([key for keys in losing.values() for key in keys])
    try:
        for number, keys in losing.items():
            for key in keys:
                try:
                    sink.delete(key)
                except DeliveryError as error:
                    if error.transient:
                        raise
                    refusal = refusal or error
                else:
                    removed[number].append(key)
                    failpoint("file_removed")
    finally:
        noted = {part.number: removed[part.number] for part in parts if part.left and removed[part.number]}
        if noted:
            attempts.note_removed(database, run_id, noted)
    if refusal is not None:
        raise refusal


def _losing(part: RunPart) -> list[str]:
    return [*earlier_attempts(part.key), *([] if part.finished_at else [part.key])]


def _number(key: str) -> tuple[int, str]:
    found = _ATTEMPT.search(key)
    assert found is not None, key  # noqa: S101 - `plan.part_name` makes these names
    return int(found[1]), found[2]


def _key(key: str, number: int, rest: str) -> str:
    return _ATTEMPT.sub(lambda _: f"-{number}{rest}", key)
