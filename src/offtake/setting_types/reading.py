"""Values as they are written in variables and in `offtake.toml`, as the values of settings."""

import json
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

_NO_DRIVER: Final = re.compile("^postgres(?:ql)?://")


def text_of(value: object) -> object:
    """A path as text."""
    return str(value) if isinstance(value, Path) else value


def json_of(value: object) -> object:
    """A table of `offtake.toml` as the JSON object that an environment variable would have."""
    return json.dumps(value) if isinstance(value, dict) else value


def with_driver(url: object) -> object:
    """A PostgreSQL URL that names no driver, with the driver that Offtake installs."""
    return _NO_DRIVER.sub("postgresql+psycopg://", url) if isinstance(url, str) else url


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(ip_network(one.strip()) for one in value.split(",") if one.strip())


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
