"""A real PostgreSQL server for the tests, from Debian's packages."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from offtake.store.database import Database
from tests.servers import free_port

_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


@contextmanager
def postgres_server() -> Iterator[str]:
    """A server of its own on a free loopback port; its URL without a database name."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    assert programs is not None, "PostgreSQL is not installed; run: sh tests/install-servers.sh"
    folder = Path(tempfile.mkdtemp(prefix="offtake-postgres-"))
    try:
        data = folder / "data"
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        _as_postgres(programs / "initdb", "-D", data, "-U", "offtake", "-A", "trust", "-N", "-E", "UTF8")
        port = free_port()
        options = " ".join(f"-c {option}" for option in _OPTIONS)
        serve = f"-p {port} -h 127.0.0.1 -k {folder} {options}"
        _as_postgres(programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", serve, "start")
        try:
            yield f"postgresql+psycopg://offtake@127.0.0.1:{port}"
        finally:
            _as_postgres(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def new_database(server_url: str) -> str:
    """A fresh, empty database on the server; its URL."""
    return _created(server_url, "template1")


def migrated_database(server_url: str) -> str:
    """A fresh database with the tables of this version; its URL. Faster than migrating an empty one."""
    return _created(server_url, _template(server_url))


def copied_database(url: str) -> str:
    """A copy of a database to which nothing is connected; its URL."""
    server_url, _, name = url.rpartition("/")
    return _created(server_url, name)


def _created(server_url: str, template: str) -> str:
    name = f"t{uuid4().hex}"
    plain = server_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(f"{plain}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return f"{server_url}/{name}"


@functools.cache
def _template(server_url: str) -> str:
    """The name of a migrated database to which nothing is connected."""
    url = new_database(server_url)
    database = Database(url)
    database.migrate()
    database.close()
    return url.rpartition("/")[2]


def _as_postgres(*command: object) -> None:
    become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*become, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/")
