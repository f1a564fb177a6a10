"""What a catalog server may decide about the files of its tables: temporary credentials, and nothing else."""

from collections.abc import Mapping
from typing import Final

from offtake.lake.catalogs.declarations import IDENTITY, REGION
from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess, Kind
from offtake.network.egress import Network

_LENT: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s3": ("s3.access-key-id", "s3.secret-access-key", "s3.session-token"),
    "gs": ("gcs.oauth2.token",),
    "azure": ("adls.sas-token",),
    "folder": (),
}
_EXPIRES: Final = ("s3.session-token-expires-at-ms", "gcs.oauth2.token-expires-at", "adls.sas-token-expires-at-ms")
_MAY_SAY: Final = ("s3.region", "client.region")
"""Where the files are: it changes no host that a user did not choose, as the endpoint is the vendor's or configured."""
_OWN: Final[Mapping[str, Kind]] = {"s3.": "s3", "client.": "s3", "gcs.": "gs", "adls.": "azure"}
_SIGNER: Final = ("s3.remote-signing-enabled", "s3.signer", "s3.signer.uri")


def access_for(
    properties: Mapping[str, str],
    config: Mapping[str, str],
    network: Network,
    closed: tuple[str, ...],
    *,
    folders: bool = False,
) -> FileAccess:
    """How the files of a table are opened: with the credentials that the server lent, else with the catalog's own.

    `properties`: of the catalog. `config`: what the server says about the table. `folders`: whether the warehouse may
    be a folder of this machine. Raises `LocationError` when there are no credentials, and when the server asks for
    remote signing.
    """
    lent, kind = _lent(config)
    if kind is None:
        if any(config.get(name) not in (None, "", "false") for name in _SIGNER):
            raise LocationError(
                "The catalog asks to sign each request remotely, which is not supported. Let it lend credentials "
                "(vended credentials), or set s3.access-key-id and s3.secret-access-key in the catalog."
            )
        kind = _configured(properties, folders=folders)
    own = {name: value for name, value in properties.items() if name not in _LENT[kind] or not lent}
    region = {name: config[name] for name in _MAY_SAY if name in config and "s3.region" not in properties}
    # A region becomes a part of the host's name, which a server must not choose.
    region = {name: value for name, value in region.items() if REGION.fullmatch(value)}
    if kind == "folder":
        return FileAccess(kind, {}, network, properties["warehouse"], closed)
    return FileAccess(kind, own | region | lent, network, closed=closed, expires_ms=_expiry(config) if lent else None)


def _lent(config: Mapping[str, str]) -> tuple[dict[str, str], Kind | None]:
    for kind, names in _LENT.items():
        found = {name: config[name] for name in names if config.get(name)}
        if kind == "azure":
            found |= {name: value for name, value in config.items() if _is_sas(name) and value}
        if found:
            return found, kind
    return {}, None


def _is_sas(name: str) -> bool:
    return name.startswith("adls.sas-token.")


def _expiry(config: Mapping[str, str]) -> int | None:
    values = [value for name, value in config.items() if name.startswith(_EXPIRES)]
    return min((int(one) for one in values if one.isascii() and one.isdecimal()), default=None)


def _configured(properties: Mapping[str, str], *, folders: bool) -> Kind:
    """The kind of store that the catalog's own properties are for."""
    identity = properties.get(IDENTITY)
    for kind in ("s3", "gs", "azure"):
        if identity == kind:
            return kind
    found = dict.fromkeys(kind for name in properties for prefix, kind in _OWN.items() if name.startswith(prefix))
    if len(found) == 1:
        return next(iter(found))
    if folders and not found and properties.get("warehouse", "").startswith(("/", "file:")):
        return "folder"
    raise LocationError(
        "The catalog has credentials for several stores; keep those of one."
        if found
        else "The catalog has no credentials for the files of its tables, and lent none. Set those of the store, "
        "such as s3.access-key-id and s3.secret-access-key."
    )
