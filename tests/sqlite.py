"""SQLite stores for the tests, with the tables of this version."""

import functools
import tempfile
from pathlib import Path

from offtake.store.database import Database


def put_migrated_store(file: Path) -> None:
    """Write an empty store there unless there is one. Faster than migrating an empty file."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(_migrated())


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "store.db")
        database = Database(f"sqlite:///{file}")
        database.migrate()
        database.close()
        return file.read_bytes()
