"""Access to the deployment of a data directory, in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from sqlalchemy import inspect

from offtake.access import access, clients
from offtake.cli import output, variables
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.deployment.backend import UNFINISHED, Backend, open_backend
from offtake.errors import NoDeploymentError, OfftakeError
from offtake.invalid_values import message_of
from offtake.settings import Settings
from offtake.store.database import Database, StoreBusyError

_SQLITE: Final = "sqlite:///"
_DATABASES: Final = (_SQLITE, "postgresql")


def settings_at(data_dir: Path | None) -> Settings:
    """Read the deployment's settings; raises `OfftakeError`, which names the invalid ones."""
    try:
        settings = Settings.at(data_dir)
    except ValidationError as error:
        wrong = "; ".join(_wrong_setting(one) for one in error.errors())
        raise OfftakeError(f"Invalid settings (OFFTAKE_* or offtake.toml): {wrong}") from None
    except TOMLDecodeError as error:
        raise OfftakeError(f"offtake.toml is not valid TOML: {error}. Correct it, or remove it.") from None
    except UnicodeDecodeError:
        raise OfftakeError("offtake.toml is not UTF-8 text. Correct it, or remove it.") from None
    if settings.database_url and not settings.database_url.startswith(_DATABASES):
        raise OfftakeError(f"OFFTAKE_DATABASE_URL must begin with {' or '.join(_DATABASES)}.")
    for warning in variables.unknown(os.environ, Settings.model_fields):
        output.note(f"offtake: warning: {warning}")
    return settings


def _wrong_setting(error: Any) -> str:  # noqa: ANN401 - Pydantic's error details are a plain dict
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, 1)
        return f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "; see docs/settings.md")
    return f"{name}: {message_of(error)}"


@contextmanager
def operating(data_dir: Path | None, sandbox: str | None = None) -> Iterator[tuple[Backend, Caller]]:
    """Open the deployment directly, with every permission in one sandbox; a server may be running."""
    with opened(data_dir) as backend:
        yield backend, access.operator_caller(backend.database, sandbox)


@contextmanager
def administering(data_dir: Path | None) -> Iterator[tuple[Backend, Caller]]:
    """Open the deployment directly, for the organisation's clients, roles and sandboxes; a server may be running."""
    with opened(data_dir) as backend:
        yield backend, access.organisation_operator(backend.database)


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Backend]:
    """Open the deployment directly; a server may be running. Raises `NoDeploymentError` when there is none."""
    settings = settings_at(data_dir)
    check_deployment(settings)
    with opened_or_made(settings) as backend:
        yield backend


@contextmanager
def opened_or_made(settings: Settings, *, upgrade: bool | None = None) -> Iterator[Backend]:
    """Open the deployment directly, and make it first when there is none; `upgrade`: as for `open_backend`."""
    backend = open_backend(settings, Clock(), lazily=True, upgrade=upgrade)
    try:
        clients.create_organisation(backend.database, backend.clock)
        yield backend
    finally:
        backend.close()


def check_deployment(settings: Settings) -> None:
    """Raise `NoDeploymentError` when the settings name no deployment that exists."""
    if not has_deployment(settings) and not (settings.data_dir / UNFINISHED).exists():
        where = "OFFTAKE_DATABASE_URL names a database" if settings.database_url else str(settings.data_dir)
        what = "without the tables of Offtake" if settings.database_url else "has no deployment of Offtake"
        raise NoDeploymentError(
            f"{where} {what}. Create one: offtake init; or name another one: --data-dir DIRECTORY, --server URL."
        )


def has_deployment(settings: Settings) -> bool:
    """Whether the deployment of these settings has been made. Raises `OfftakeError` for an unreachable database."""
    if settings.database_url is None:
        return (settings.data_dir / "offtake.db").is_file()
    if settings.store_url.startswith(_SQLITE) and not Path(settings.store_url.removeprefix(_SQLITE)).is_file():
        return False
    database = Database(settings.store_url)
    try:
        with database.snapshot_read() as connection:
            return inspect(connection).has_table("organisations")
    except StoreBusyError:
        place = urlsplit(settings.store_url)
        where = f"{place.hostname or ''}{place.path}"
        raise OfftakeError(
            f"The database {where} cannot be reached. Check that it is running, and OFFTAKE_DATABASE_URL."
        ) from None
    finally:
        database.close()
