"""Dumps of released versions' databases, with rows in every table: what every later version must be able to read.

    python -m tests.store.dumps 0.1.0

writes those of the version that is checked out, as a step of its release. Later versions never write them again.
"""

import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from offtake.store.database import Database
from tests.postgres import new_database, postgres_server
from tests.store.released import fill

DUMPS: Final = Path(__file__).parent / "dumps"
RELEASES: Final = sorted(path.name for path in DUMPS.iterdir()) if DUMPS.exists() else []


def load(release: str, url: str) -> None:
    """Fill an empty database with the dump of a release."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript((DUMPS / release / "sqlite.sql").read_text())
        return
    command = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(DUMPS / release / "postgres.sql"), _plain(url)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write(release: str) -> None:
    """Write the dumps of this version."""
    folder = DUMPS / release
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "offtake.db"
        _make(f"sqlite:///{file}")
        with closing(sqlite3.connect(file)) as connection:
            (folder / "sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n")
    with postgres_server() as server:
        url = new_database(server)
        _make(url)
        command = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", _plain(url)]
        dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # What only some versions of PostgreSQL know.
    lines = [
        line for line in dumped.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "-- Dumped", "SET "))
    ]
    (folder / "postgres.sql").write_text("\n".join(lines) + "\n")


def _make(url: str) -> None:
    database = Database(url)
    database.migrate()
    fill(database)
    database.close()


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


if __name__ == "__main__":
    write(sys.argv[1])
