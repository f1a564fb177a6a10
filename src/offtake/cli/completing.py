"""Shell completion of names: of the data directory's database, or of the server that the command names.

It loads nothing of a server, takes a second at most, and offers nothing when anything fails.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

_SECONDS: Final = 0.8
_MOST: Final = 1000
_NAMES: Final = {
    "flows": "SELECT name FROM flows WHERE sandbox_id IN ({sandbox}) ORDER BY updated_at DESC",
    "connections": "SELECT name FROM connections WHERE sandbox_id IN ({sandbox}) ORDER BY updated_at DESC",
    "catalogs": "SELECT name FROM lake_catalogs WHERE sandbox_id IN ({sandbox}) ORDER BY name",
    "alert channels": "SELECT name FROM alert_channels WHERE sandbox_id IN ({sandbox}) ORDER BY name",
    "alert rules": "SELECT name FROM alert_rules WHERE sandbox_id IN ({sandbox}) ORDER BY name",
    "datasets": "SELECT name FROM datasets WHERE sandbox_id IN ({sandbox}) ORDER BY updated_at DESC",
    "runs": "SELECT id FROM runs WHERE sandbox_id IN ({sandbox}) ORDER BY created_at DESC",
    "batches": "SELECT id FROM batches WHERE sandbox_id IN ({sandbox}) ORDER BY created_at DESC",
    "roles": "SELECT name FROM roles ORDER BY name",
    "clients": "SELECT name FROM clients WHERE revoked_at IS NULL ORDER BY name",
    "sandboxes": "SELECT name FROM sandboxes ORDER BY name",
}
_OF_FLOW_SERVICE: Final = {
    "flows": "flows",
    "connections": "connections",
    "runs": "runs",
    "alert channels": "alertChannels",
    "alert rules": "alertRules",
}
_SANDBOX: Final = "SELECT id FROM sandboxes WHERE name = :sandbox OR (:sandbox = '' AND is_default)"

Complete = Callable[[typer.Context, str], list[str]]


def names_of(kind: str) -> Complete:
    """A completion of the names (of runs and batches, the ids) of a kind of things."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        found: Sequence[str] = ()
        with contextlib.suppress(Exception):
            found = list(_find(kind, ctx))
        return list(dict.fromkeys(one for one in found if one.startswith(incomplete)))

    return complete


def _find(kind: str, ctx: typer.Context) -> Iterator[str]:
    from offtake.cli.connecting import chosen_server  # noqa: PLC0415 - only for completions

    data_dir, sandbox = ctx.params.get("data_dir"), ctx.params.get("sandbox") or ""
    server = chosen_server(ctx.params.get("server"), data_dir)
    if server is not None:
        yield from _of_server(kind, server, sandbox or None)
        return
    folder = Path(data_dir or os.environ.get("OFFTAKE_DATA_DIR") or "offtake-data")
    if os.environ.get("OFFTAKE_DATABASE_URL"):
        return
    address = f"{(folder / 'offtake.db').absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_SECONDS)) as database:
        query = _NAMES[kind].format(sandbox=_SANDBOX)
        yield from (str(row[0]) for row in database.execute(f"{query} LIMIT {_MOST}", {"sandbox": sandbox}))


def _of_server(kind: str, server: str, sandbox: str | None) -> Iterator[str]:
    from offtake.client import names, profiles  # noqa: PLC0415 - only for completions
    from offtake.client.remote import Remote  # noqa: PLC0415 - only for completions
    from offtake.client.server import (  # noqa: PLC0415 - only for completions
        CATALOG,
        FLOW_SERVICE,
        LAKE_CATALOGS,
        SANDBOXES,
        Server,
    )

    profile = profiles.find_profile(server, profiles.data_dir(Path("offtake-data")))
    with Server(Remote(profile, sandbox, seconds=_SECONDS)) as to:
        if kind in _OF_FLOW_SERVICE:
            found = to.get_all(f"{FLOW_SERVICE}/{_OF_FLOW_SERVICE[kind]}", most=100)
        elif kind in ("datasets", "batches"):
            path = f"{CATALOG}/{'dataSets' if kind == 'datasets' else 'batches'}"
            found = to.get_by_start(path, None, (("properties", "name"),) if kind == "datasets" else (), 100)
        elif kind == "catalogs":
            found = to.get_all(LAKE_CATALOGS, most=100)
        elif kind == "sandboxes":
            found = to.get_by_start(f"{SANDBOXES}/sandboxes", "sandboxes", most=100)
        else:
            found = to.get_by_start(names.ROLES if kind == "roles" else names.CLIENTS, "items", most=100)
        yield from (str(one["id"] if kind in ("runs", "batches") else one["name"]) for one in found)
