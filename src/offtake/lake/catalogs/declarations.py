"""What each type of catalog needs. Commands, the API and pages derive their options, checks and texts from this.

Properties have PyIceberg's names (https://py.iceberg.apache.org/configuration/), but only these are accepted: PyIceberg
imports classes that some of its properties name, and sends credentials to addresses that others name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal
from urllib.parse import urlsplit

from offtake.errors import FieldProblem, InvalidInputError

TypeName = Literal["rest", "glue", "hive", "sql", "files"]
IDENTITY: Final = "server-identity"
_KINDS: Final = ("s3", "gs", "azure")
_CLOSE: Final = 0.6
_NOT_SUPPORTED: Final[Mapping[str, str]] = {
    "rest.sigv4-enabled": "is not supported: requests are not signed as AWS does. Use a catalog of type glue",
    "py-catalog-impl": "is not supported: it names code to run",
    "py-io-impl": "is not supported: it names code to run",
    "auth": "is not supported; use credential or token",
    "hive.kerberos-authentication": "is not supported: use the metastore's REST catalog, with type rest",
}
"""Properties of PyIceberg that people may expect, and why they are refused."""


@dataclass(frozen=True)
class Property:
    """A property. `endpoint`: a URL that the network's rules apply to, and that binds the secrets.

    `binds`: it decides where, or as which account, the secrets are used: they are sent again when it changes.
    `schemes`: of the URL. `operators`: only for the operator on the machine. `values`: all that are allowed. `pattern`:
    of a value that becomes a part of a host's name.
    """

    name: str
    description: str
    secret: bool = False
    required: bool = False
    endpoint: bool = False
    operators: bool = False
    values: tuple[str, ...] = ()
    example: str = ""
    binds: bool = False
    pattern: re.Pattern[str] | None = None
    schemes: tuple[str, ...] = ("http", "https")


@dataclass(frozen=True)
class CatalogType:
    """A type of catalog. `operators`: only the operator on the machine may add one."""

    name: TypeName
    title: str
    description: str
    properties: tuple[Property, ...]
    operators: bool = False

    def is_secret(self, name: str) -> bool:
        """Whether the property is stored encrypted, and never shown."""
        found = self.find(name)
        return found is not None and found.secret

    def is_binding(self, name: str) -> bool:
        """Whether a change of the property takes the secrets elsewhere."""
        found = self.find(name)
        return found is not None and (found.endpoint or found.binds)

    @property
    def has_folders(self) -> bool:
        """Whether the tables' files may be in a folder of this machine: `warehouse` is one, not a name at a server."""
        warehouse = self.find("warehouse")
        return warehouse is not None and (self.operators or warehouse.operators)

    def find(self, name: str) -> Property | None:
        """The property with that name; Azure's SAS tokens may name their account."""
        known = {one.name: one for one in self.properties}
        return known.get(name) or (known.get("adls.sas-token") if name.startswith("adls.sas-token.") else None)


REGION: Final = re.compile("[a-z0-9-]{1,64}")
_ACCOUNT: Final = re.compile("[a-z0-9-]{1,64}")
_TENANT: Final = re.compile("[A-Za-z0-9.-]{1,128}")
_CREDENTIAL: Final = "credential"
_PREFIXES: Final = ("client", "glue", "s3")
_PRINCIPAL: Final = ("adls.tenant-id", "adls.client-id", "adls.client-secret")
_TOGETHER: Final[Mapping[str, tuple[str, ...]]] = {
    **{f"{one}.access-key-id": (f"{one}.secret-access-key",) for one in _PREFIXES},
    **{f"{one}.secret-access-key": (f"{one}.access-key-id",) for one in _PREFIXES},
    **{f"{one}.session-token": (f"{one}.access-key-id", f"{one}.secret-access-key") for one in _PREFIXES},
    **{one: tuple(other for other in _PRINCIPAL if other != one) for one in _PRINCIPAL},
}
"""Properties that need others: a store would only refuse access later."""
_LONG_TEXT: Final = "gcs.service-account-key"
"""The property whose value is a document."""
_BOOLEANS: Final = ("true", "false")
_S3: Final = (
    Property("s3.endpoint", "URL of an S3-compatible store. Default: Amazon.", endpoint=True),
    Property(
        "s3.region",
        "Region of the buckets. Default: us-east-1.",
        example="eu-central-1",
        binds=True,
        pattern=REGION,
    ),
    Property("s3.access-key-id", "Access key that may read the tables' files.", binds=True),
    Property("s3.secret-access-key", "Secret of the access key.", secret=True),
    Property("s3.session-token", "Session token of temporary credentials.", secret=True),
    Property("s3.force-virtual-addressing", "Whether the bucket is in the host name.", values=_BOOLEANS),
    Property("s3.anonymous", "Whether the files are public: requests are not signed.", values=_BOOLEANS),
)
_GOOGLE: Final = (
    Property("gcs.service-account-key", "JSON key of a service account that may read the files.", secret=True),
    Property("gcs.oauth2.token", "Access token.", secret=True),
    Property("gcs.oauth2.token-expires-at", "When the access token expires, in epoch milliseconds."),
    Property("gcs.service.host", "URL of another server with Google's API.", endpoint=True),
    Property("gcs.anonymous", "Whether the files are public.", values=_BOOLEANS),
)
_AZURE: Final = (
    Property("adls.account-name", "Name of the storage account.", binds=True, pattern=_ACCOUNT),
    Property("adls.account-key", "Key of the storage account.", secret=True),
    Property("adls.sas-token", "Shared access signature that may read and list.", secret=True),
    Property("adls.tenant-id", "Tenant of a service principal.", binds=True, pattern=_TENANT),
    Property("adls.client-id", "Id of a service principal.", binds=True),
    Property("adls.client-secret", "Secret of a service principal.", secret=True),
    Property("adls.account-host", "Host of another server with Azure's API.", endpoint=True),
)
_IDENTITY: Final = (
    Property(
        IDENTITY,
        "Read files with the identity of the server itself: s3, gs or azure. Only the operator may set it.",
        operators=True,
        values=_KINDS,
    ),
)
_CLIENT: Final = (
    Property("client.region", "Region of the service. Default: that of the files.", binds=True, pattern=REGION),
    Property(
        "client.access-key-id", "Access key for the service, and for the files without s3.access-key-id.", binds=True
    ),
    Property("client.secret-access-key", "Secret of that access key.", secret=True),
    Property("client.session-token", "Session token of temporary credentials.", secret=True),
)
_STORAGE: Final = (*_S3, *_GOOGLE, *_AZURE, *_IDENTITY)

REST: Final = CatalogType(
    "rest",
    "REST catalog",
    "A server with Iceberg's REST protocol, such as Polaris, Lakekeeper, Nessie or Unity Catalog.",
    (
        Property(
            "uri",
            "URL of the catalog.",
            required=True,
            endpoint=True,
            example="https://polaris.example.org/api/catalog",
        ),
        Property("warehouse", "Name of the warehouse at the server.", example="analytics"),
        Property("credential", "Client id and secret, as ID:SECRET, for OAuth 2.", secret=True),
        Property("oauth2-server-uri", "URL that issues the tokens. Default: at the catalog.", endpoint=True),
        Property("scope", "Scope of the tokens.", example="PRINCIPAL_ROLE:ALL"),
        Property("audience", "Audience of the tokens."),
        Property("resource", "Resource of the tokens."),
        Property("token", "A bearer token, instead of credential.", secret=True),
        *_CLIENT,
        *_STORAGE,
    ),
)
GLUE: Final = CatalogType(
    "glue",
    "AWS Glue",
    "The Glue Data Catalog of an AWS account.",
    (
        Property("glue.region", "Region of the catalog.", example="eu-central-1", binds=True, pattern=REGION),
        Property("glue.id", "Id of the catalog, if it is of another account."),
        Property("glue.endpoint", "URL of a server with Glue's API. Default: Amazon.", endpoint=True),
        Property("glue.access-key-id", "Access key that may read the catalog.", binds=True),
        Property("glue.secret-access-key", "Secret of the access key.", secret=True),
        Property("glue.session-token", "Session token of temporary credentials.", secret=True),
        *_CLIENT,
        *_S3,
        *_IDENTITY,
    ),
)
HIVE: Final = CatalogType(
    "hive",
    "Hive Metastore",
    "A metastore with the Thrift protocol, without Kerberos and TLS.",
    (
        Property(
            "uri",
            "URL of the metastore.",
            required=True,
            endpoint=True,
            schemes=("thrift",),
            example="thrift://metastore.example.org:9083",
        ),
        Property("ugi", "User of the metastore, as USER:GROUP.", example="reader:readers"),
        *_CLIENT,
        *_STORAGE,
    ),
    operators=True,
)
SQL: Final = CatalogType(
    "sql",
    "SQL catalog",
    "PyIceberg's catalog in a database (SQLite or PostgreSQL).",
    (
        Property(
            "uri", "SQLAlchemy URL of the database.", required=True, secret=True, example="postgresql+psycopg://…"
        ),
        Property("catalog-name", "Name of the catalog in the database. Default: the name given here."),
        Property("warehouse", "Folder of this machine below which files may be read."),
        *_CLIENT,
        *_STORAGE,
    ),
    operators=True,
)
FILES: Final = CatalogType(
    "files",
    "Tables without a catalog",
    "Tables that are named by the location of their metadata.",
    (
        Property("warehouse", "Folder of this machine below which files may be read.", operators=True),
        *_CLIENT,
        *_STORAGE,
    ),
)
TYPES: Final[Mapping[str, CatalogType]] = {one.name: one for one in (REST, GLUE, HIVE, SQL, FILES)}


def find_type(name: str) -> CatalogType:
    """The type with that name; raises `InvalidInputError`."""
    found = TYPES.get(name)
    if found is None:
        raise InvalidInputError([FieldProblem("/type", f"is not a type of catalog; allowed: {', '.join(TYPES)}")])
    return found


def check(kind: CatalogType, properties: Mapping[str, str], *, is_operator: bool) -> None:
    """Raise `InvalidInputError` with every property that is unknown, missing, or not allowed."""
    found = [*_missing(kind, properties), *_halves(kind, properties)]
    if kind.operators and not is_operator:
        found.append(FieldProblem("/type", f"{kind.name} is for the operator on the server's machine only"))
    for name, value in properties.items():
        problem = _problem(kind, name, value, is_operator=is_operator)
        if problem:
            found.append(FieldProblem(f"/properties/{name}", problem))
    if found:
        raise InvalidInputError(found)


def _missing(kind: CatalogType, properties: Mapping[str, str]) -> list[FieldProblem]:
    return [
        FieldProblem(f"/properties/{one.name}", "is required", missing=True)
        for one in kind.properties
        if one.required and not properties.get(one.name)
    ]


def _halves(kind: CatalogType, properties: Mapping[str, str]) -> list[FieldProblem]:
    """The properties that are nothing without others, which are missing."""
    found = []
    for name, others in _TOGETHER.items():
        lacking = [one for one in others if not properties.get(one)]
        if properties.get(name) and lacking and kind.find(name):
            found.append(
                FieldProblem(f"/properties/{name}", f"needs {' and '.join(lacking)} too: give all of them, or none")
            )
    return found


def _problem(kind: CatalogType, name: str, value: str, *, is_operator: bool) -> str:
    known = kind.find(name)
    if name in _NOT_SUPPORTED:
        return _NOT_SUPPORTED[name]
    return _unknown(kind, name) if known is None else _misfit(known, value, is_operator=is_operator)


def _unknown(kind: CatalogType, name: str) -> str:
    near = get_close_matches(name, [one.name for one in kind.properties], 1, _CLOSE)
    return f"is unknown; did you mean {near[0]}?" if near else f"is unknown for catalogs of type {kind.name}"


def _misfit(known: Property, value: str, *, is_operator: bool) -> str:
    if known.operators and not is_operator:
        return "is for the operator on the server's machine only"
    if known.values and value not in known.values:
        return f"must be {', '.join(known.values[:-1])} or {known.values[-1]}"
    if known.name == _CREDENTIAL and not value.partition(":")[2]:
        return "must be ID:SECRET, the id and the secret of a client with a colon between them"
    return _unfit_text(known, value)


def _unfit_text(known: Property, value: str) -> str:
    if known.name != _LONG_TEXT and any(not one.isprintable() for one in value):
        return "has a line break or another character that cannot be printed"
    if known.pattern and not known.pattern.fullmatch(value):
        return "has characters that a part of a host name cannot have"
    if known.endpoint and not _is_url(value, known.schemes):
        return f"must be a URL that starts with {' or '.join(f'{one}://' for one in known.schemes)}"
    return ""


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        split = urlsplit(value)
        _ = split.port  # raises for what is not a port
    except ValueError:
        return False
    return split.scheme in schemes and bool(split.hostname) and split.username is None
