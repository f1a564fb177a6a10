"""Profiles: the servers that a user works with, in `~/.config/offtake/config.toml`.

default = "production"

[profiles.production]
server = "https://offtake.example.org"
client_id = "…"
client_secret = "env:OFFTAKE_PRODUCTION_SECRET"
organisation = "…@AdobeOrg"
sandbox = "prod"
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from offtake.errors import OfftakeError

TOKEN_PATH: Final = "/ims/token/v3"  # noqa: S105 - a path
ADMIN_FILE: Final = "admin.json"
SERVER_VARIABLE: Final = "OFFTAKE_SERVER"
_VARIABLES: Final = {
    "client_id": "OFFTAKE_CLIENT_ID",
    "client_secret": "OFFTAKE_CLIENT_SECRET",
    "organisation": "OFFTAKE_ORGANISATION",
    "sandbox": "OFFTAKE_SANDBOX",
    "token_url": "OFFTAKE_TOKEN_URL",
}
VARIABLES: Final = (SERVER_VARIABLE, *_VARIABLES.values())
"""The environment variables of the client."""
_KEYS: Final = ("server", *_VARIABLES, "scope", "ca_file")
_REQUIRED: Final = ("client_id", "client_secret", "organisation")


@dataclass(frozen=True)
class Profile:
    """A server and the identity to use there. `server`: its URL; `scope`: of tokens; `ca_file`: trusted in addition."""

    server: str
    client_id: str
    client_secret: str = field(repr=False)
    organisation: str
    sandbox: str | None = None
    token_url: str = ""
    scope: str = "openid"
    ca_file: str | None = None


def config_file() -> Path:
    """The file of profiles: below `XDG_CONFIG_HOME`, else below `~/.config`."""
    return user_folder("XDG_CONFIG_HOME", ".config") / "config.toml"


def user_folder(variable: str, default: str) -> Path:
    """The folder of this program below a variable's folder, else below a folder of the home directory.

    As the specification of the variables requires, a relative path is ignored.
    """
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path.home() / default) / "offtake"


def find_profile(server: str, data_dir: Path) -> Profile:
    """The profile for a server, given by its URL or by the name of a profile.

    A URL's identity comes from the environment (`OFFTAKE_CLIENT_ID` and others), else from the profile with this URL,
    else from `admin.json` in `data_dir`. Raises `OfftakeError`, which names what is missing and where it can be set.
    """
    known = read_profiles(config_file())
    if "://" in server:
        found = _of_url(server, known, data_dir)
    elif server in known:
        found = known[server] | _from_environment()
    else:
        near = get_close_matches(server, known, 1)
        hint = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(known) or 'none'}."
        raise OfftakeError(f"{config_file()} has no profile {server}.{hint}")
    return _checked(found, server)


def default_server() -> str | None:
    """The server of commands that name none: `OFFTAKE_SERVER`, else the default profile's name; None for none."""
    chosen = os.environ.get(SERVER_VARIABLE) or _read_toml(config_file()).get("default")
    if chosen is not None and not isinstance(chosen, str):
        raise OfftakeError(f"{config_file()}: default must be the name of a profile in quotes.")
    return chosen


def data_dir(default: Path) -> Path:
    """The data directory whose `admin.json` is used: `OFFTAKE_DATA_DIR`, else `default`."""
    return Path(os.environ.get("OFFTAKE_DATA_DIR") or default)


def check_url(text: str) -> str:
    """The URL of a server without its last slash; raises `OfftakeError` when it is not one."""
    url = text.strip().rstrip("/")
    try:
        split = urlsplit(url)
        is_url = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        is_url = False
    if not is_url or split.query or split.fragment or split.username:
        raise OfftakeError(f"The server {text[:200]} is not a URL that starts with http:// or https://.")
    return url


def _of_url(server: str, known: Mapping[str, dict[str, str]], data_dir: Path) -> dict[str, str]:
    url = server.rstrip("/")
    same = (one for one in known.values() if one.get("server", "").rstrip("/") == url)
    found = next(same, None) or _of_admin_file(data_dir / ADMIN_FILE, url)
    return found | {"server": url} | _from_environment()


def _of_admin_file(file: Path, url: str) -> dict[str, str]:
    """The identity of a deployment's first client, if the file is of the server with that URL."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or found.get("origin") != url:
        return {}
    names = {"client_id": "client_id", "client_secret": "client_secret", "organisation": "org_id", "sandbox": "sandbox"}
    return {name: str(found[key]) for name, key in names.items() if found.get(key)}


def _from_environment() -> dict[str, str]:
    return {name: value for name, variable in _VARIABLES.items() if (value := os.environ.get(variable))}


def read_profiles(file: Path) -> dict[str, dict[str, str]]:
    """The profiles in the file by name, with their keys as written. Raises `OfftakeError` for a malformed file."""
    sections = _read_toml(file).get("profiles", {})
    if not isinstance(sections, dict):
        raise OfftakeError(f"{file}: profiles must be tables, such as [profiles.production].")
    return {name: _read_section(file, name, section) for name, section in sections.items()}


def _read_section(file: Path, name: str, section: object) -> dict[str, str]:
    if not isinstance(section, dict):
        raise OfftakeError(f"{file}: profile {name} must be a table: [profiles.{name}].")
    for key, value in section.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else f". Allowed: {', '.join(_KEYS)}."
            raise OfftakeError(f"{file}: profile {name} has the unknown key {key}{hint}")
        if not isinstance(value, str):
            raise OfftakeError(f"{file}: {key} of profile {name} must be text in quotes.")
    return section


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OfftakeError(f"{file} is not valid TOML: {error}.") from None


def _checked(found: Mapping[str, str], server: str) -> Profile:
    url = check_url(found.get("server", server))
    missing = [name for name in _REQUIRED if not found.get(name)]
    if missing:
        variables = ", ".join(_VARIABLES[name] for name in missing)
        raise OfftakeError(
            f"{', '.join(missing)} for server {url} is missing. Set {variables} in the environment, or add a profile "
            f"to {config_file()}."
        )
    profile = Profile(**{name: value for name, value in found.items() if value})
    token_url = profile.token_url or f"{url}{TOKEN_PATH}"
    return replace(profile, server=url, token_url=token_url, client_secret=resolve_secret(profile.client_secret))


def resolve_secret(reference: str) -> str:
    """The secret itself, for `env:VARIABLE` and `file:PATH`; other text is the secret. Raises `OfftakeError`."""
    kind, mark, rest = reference.partition(":")
    if kind == "env" and mark:
        value = os.environ.get(rest)
        if not value:
            raise OfftakeError(f"The environment variable {rest}, which should hold a secret, is not set.")
        return value
    if kind == "file" and mark:
        try:
            return Path(rest).expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise OfftakeError(f"The secret's file {rest} cannot be read: {reason}.") from None
    return reference
