"""Errors of catalogs of others: which catalog, what happened, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pydantic
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    ForbiddenError,
    NoSuchIcebergTableError,
    NoSuchNamespaceError,
    NoSuchPropertyException,
    NoSuchTableError,
    OAuthError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)

from offtake.errors import DATASET_GONE, EXPORT_FAILED, SOURCE_UNAVAILABLE, DeliveryCode, DeliveryError
from offtake.lake import metadata_errors
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.locations import LocationError
from offtake.lake.parquet_files import shortened

_GLUE_REFUSED: Final = (
    "AccessDenied",
    "UnrecognizedClient",
    "InvalidSignature",
    "ExpiredToken",
    "InvalidClientTokenId",
)


@contextmanager
def translating_errors(config: CatalogConfig, table: str = "") -> Iterator[None]:
    """Translates the errors of the catalog's client to `DeliveryError`; answers of the server are shortened."""
    try:
        yield
    except (DeliveryError, NoSuchTableError, FileNotFoundError):
        raise
    except Exception as error:
        found = _explain(error, config.name, table)
        if found is None:
            raise
        raise found from None


def _explain(error: Exception, name: str, table: str) -> DeliveryError | None:
    what = f"Catalog {name}"
    if isinstance(error, pydantic.ValidationError) and error.title not in _OF_THE_PROTOCOL:
        return metadata_errors.unreadable(table, error)
    if (found := _of_answer(what, error)) is not None:
        return found
    for kinds, code, message, remedy in _EXPLAINED:
        if isinstance(error, kinds):
            words = {"what": what, "name": name, "table": table, "why": shortened(error)}
            return DeliveryError(code, message.format_map(words), remedy)
    if isinstance(error, LocationError):
        return DeliveryError(EXPORT_FAILED, str(error), "")
    found = _of_client(what, error)
    if found is None and isinstance(error, metadata_errors.UNREADABLE):
        return metadata_errors.unreadable(table, error)
    return found


def _of_answer(what: str, error: Exception) -> DeliveryError | None:
    """An answer to a REST catalog's client that no server of a catalog gives."""
    if isinstance(error, ServerError) and _UNREACHED in str(error):
        return _away(what, "nothing answers at its URL, or a proxy before it answers 502 Bad Gateway")
    if _BAD_HEADER in str(error):  # the text has the value
        return DeliveryError(
            EXPORT_FAILED, f"A credential of {what} has a character that no credential has.", "Enter it again."
        )
    if type(error) is RESTError and _NO_JSON in str(error):
        remedy = "Check uri, and that the server speaks the protocol of the catalog's type."
        return DeliveryError(EXPORT_FAILED, f"{what} does not answer as an Iceberg catalog does.", remedy)
    return None


def _of_client(what: str, error: Exception) -> DeliveryError | None:
    """An error of a client whose package is slow to import: a deployment without such catalogs does without."""
    package = type(error).__module__.partition(".")[0]
    of_clients = {
        "requests": _of_requests,
        "botocore": _of_amazon,
        "sqlalchemy": _of_database,
        "thrift": _of_hive,
        "hive_metastore": _of_hive,
    }
    if package in of_clients:
        return of_clients[package](what, error)
    if isinstance(error, ModuleNotFoundError):
        message = f"{what} needs the package {error.name}, which is not installed."
        return DeliveryError(EXPORT_FAILED, message, "Install it, or use another database or driver in uri.")
    return _away(what, "no answer in time") if isinstance(error, TimeoutError) else None


_UNREACHED: Final = "Bad Gateway"
"""What the egress proxy answers when it cannot connect."""
_BAD_HEADER: Final = "header value"
_NO_JSON: Final = "Received unexpected JSON Payload"
_OF_THE_PROTOCOL: Final = ("ConfigResponse", "ListNamespaceResponse", "ListTablesResponse", "TokenResponse")
"""Answers of a REST catalog that hold no metadata of a table."""
_EXPLAINED: Final[tuple[tuple[tuple[type[Exception], ...], DeliveryCode, str, str], ...]] = (
    (
        (NoSuchNamespaceError,),
        DATASET_GONE,
        "{what} has no namespace for {table}.",
        "Correct the name.",
    ),
    (
        (NoSuchIcebergTableError, NoSuchPropertyException),
        EXPORT_FAILED,
        "{table} of catalog {name} is not an Iceberg table.",
        "Register an Iceberg table.",
    ),
    (
        (UnauthorizedError, AuthorizationExpiredError, OAuthError, ForbiddenError),
        EXPORT_FAILED,
        "{what} refuses access: {why}.",
        "Correct the catalog's credentials or rights.",
    ),
    (
        (ServerError, ServiceUnavailableError, TooManyRequestsError),
        SOURCE_UNAVAILABLE,
        "{what} cannot be read at present: {why}.",
        "Check the catalog, its URL and the network.",
    ),
    (
        (pydantic.ValidationError,),
        EXPORT_FAILED,
        "{what} does not answer as an Iceberg catalog does.",
        "Check its URL, and that it speaks the protocol of its type.",
    ),
    (
        (BadRequestError, RESTError),
        EXPORT_FAILED,
        "{what} refuses the request: {why}.",
        "Check the catalog's settings.",
    ),
)
"""Kinds of errors, and the code, the message and the remedy of each; the first that fits counts."""


def _away(what: str, why: str) -> DeliveryError:
    return DeliveryError(SOURCE_UNAVAILABLE, f"{what} cannot be read at present: {why}.")


def _of_requests(what: str, error: Exception) -> DeliveryError:
    kind = type(error).__name__
    if kind == "TooManyRedirects":
        return DeliveryError(EXPORT_FAILED, f"{what} answers with a redirect.", "Set the URL that it leads to.")
    if "Timeout" in kind:
        return _away(what, "no answer in time")
    return _away(what, "its certificate is not trusted" if "SSL" in kind else "it could not be reached")


def _of_database(what: str, error: Exception) -> DeliveryError:
    """The message is the driver's: SQLAlchemy's own has the query and its parameters."""
    cause = getattr(error, "orig", None)
    why = shortened(cause if cause is not None else error)
    if type(error).__name__ in ("NoSuchModuleError", "ArgumentError"):
        return DeliveryError(EXPORT_FAILED, f"The uri of {what} is not one of a database.", "Correct uri.")
    if "no such table" in why or type(error).__name__ == "ProgrammingError":
        remedy = "Check uri, and the rights of its user."
        return DeliveryError(EXPORT_FAILED, f"The database of {what} has no tables of a catalog: {why}.", remedy)
    return _away(what, f"its database answers: {why}")


def _of_hive(what: str, error: Exception) -> DeliveryError:
    """Thrift's transport is away; its protocol and application errors come from another kind of server."""
    kind = type(error).__name__
    if kind == "TTransportException":
        return _away(what, "it could not be reached, or closed the connection")
    if type(error).__module__.startswith("hive_metastore") or kind == "TApplicationException":
        why = shortened(Exception(getattr(error, "message", "") or type(error).__name__))
        return DeliveryError(EXPORT_FAILED, f"{what} refuses the request: {why}.", "Check the catalog's settings.")
    return DeliveryError(
        EXPORT_FAILED, f"{what} does not answer as a Hive Metastore does.", "Check its URL, and that it uses no SASL."
    )


def _of_amazon(what: str, error: Any) -> DeliveryError:  # noqa: ANN401 - botocore is an extra
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if code.startswith(_GLUE_REFUSED):
        return DeliveryError(EXPORT_FAILED, f"{what} refuses access ({code}).", "Correct the catalog's credentials.")
    return _away(what, code or type(error).__name__)
