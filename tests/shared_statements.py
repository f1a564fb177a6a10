"""SQL statements compiled once for all databases of a process; each test's own database would compile them again.

SQLAlchemy keeps compiled statements by engine and by dialect, so the engines of one kind share both here.
"""

from typing import Any

from pyiceberg.catalog import sql
from sqlalchemy import Engine, create_engine, event

from offtake.store import database

_shared: dict[str, Engine] = {}
"""By the name of its dialect, an engine that has connected: its dialect knows the server."""


def _create_sharing_engine(url: str, **options: Any) -> Engine:
    engine = create_engine(url, **options)
    shared = _shared.get(engine.dialect.name)
    if shared is None:
        event.listen(engine.pool, "connect", lambda *_: _shared.setdefault(engine.dialect.name, engine))
    else:
        engine.dialect = engine.pool._dialect = shared.dialect  # noqa: SLF001 - no public way to share it
        engine._compiled_cache = shared._compiled_cache  # noqa: SLF001 - as above
    return engine


def install() -> None:
    """Let every database and catalog that is opened from now on share compiled statements."""
    for module in (database, sql):
        vars(module)["create_engine"] = _create_sharing_engine
