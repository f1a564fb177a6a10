"""A REST catalog that decides nothing about Offtake: neither addresses, nor code, nor credentials but lent ones."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote

from pydantic import Field
from pyiceberg.catalog.rest import (
    _RETRY_ARGS,
    DEFAULT_ENDPOINTS,
    OAUTH2_SERVER_URI,
    ConfigResponse,
    Endpoints,
    RestCatalog,
    TableResponse,
)
from pyiceberg.catalog.rest.response import _handle_non_200_response
from pyiceberg.catalog.rest.scan_planning import StorageCredential
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.table import Table
from pyiceberg.typedef import IcebergBaseModel, Properties
from requests import HTTPError, PreparedRequest, ReadTimeout, Response, Session
from requests.adapters import HTTPAdapter
from tenacity import retry

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake.catalogs import metadata_cache
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import REFUSING, AccessIO
from offtake.network.egress import Network
from offtake.network.egress_proxy import proxy_url
from offtake.network.http import verifying_context

_LARGEST: Final = 256 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_TIMES_THE_TIMEOUT: Final = 3
_CONNECT_SECONDS: Final = 10.0
_SERVER_MAY_SET: Final = ("prefix", "namespace-separator")
"""Properties of `GET /v1/config` that are used: where the server has its tables, and how it separates namespaces."""
AccessOf = Callable[[Mapping[str, str]], FileAccess]
_MOST_PAGES: Final = 1000
"""Of one list: a server could name a next page for ever."""
Identifier = tuple[str, ...]
_listing: Final = threading.local()
"""`pages`: how many requests the list that this thread is reading may still make."""


class _TableAnswer(IcebergBaseModel):
    """The answer for a table, whose metadata are not parsed."""

    metadata_location: str | None = Field(alias="metadata-location", default=None)
    metadata: dict[str, Any]
    config: Properties = Field(default_factory=dict)
    storage_credentials: list[StorageCredential] = Field(alias="storage-credentials", default_factory=list)


class ReadingRestCatalog(RestCatalog):
    """PyIceberg's REST catalog behind the network's rules; `access_of` decides how a table's files are opened."""

    def __init__(self, name: str, properties: Mapping[str, str], network: Network, access_of: AccessOf) -> None:
        """Raises PyIceberg's errors and those of `requests`."""
        self._network, self._access_of = network, access_of
        self._key = object()
        default = {OAUTH2_SERVER_URI: f"{properties['uri'].rstrip('/')}/v1/oauth/tokens"}
        super().__init__(name, **(default | dict(properties) | {PY_IO_IMPL: REFUSING}))

    def _create_session(self) -> Session:
        session = super()._create_session()
        session.trust_env = False
        session.max_redirects = 0
        proxy = proxy_url(self._network)
        session.proxies = {"http": proxy, "https": proxy}
        return session

    def _config_headers(self, session: Session) -> None:
        # Called before the first request of the session, which may be for a token.
        adapter = _BoundedAdapter(self._network)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.trust_env = False
        session.max_redirects = 0
        proxy = proxy_url(self._network)
        session.proxies = {"http": proxy, "https": proxy}
        super()._config_headers(session)

    def _fetch_config(self) -> None:
        params = {"warehouse": self.properties["warehouse"]} if self.properties.get("warehouse") else {}
        with self._create_session() as session:
            response = session.get(self.url(Endpoints.get_config, prefixed=False), params=params)
        try:
            response.raise_for_status()
        except HTTPError as error:
            _handle_non_200_response(error, {})
        found = ConfigResponse.model_validate_json(response.text)
        said = {**(found.defaults or {}), **(found.overrides or {})}
        self.properties |= {name: said[name] for name in _SERVER_MAY_SET if name in said}
        self._supported_endpoints = set(found.endpoints or DEFAULT_ENDPOINTS)
        self._namespace_separator = unquote(self.properties.get("namespace-separator") or "\x1f")

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        """The tables of the namespace; raises `NoSuchNamespaceError`, and `DeliveryError` for an endless list."""
        with _few_pages():
            found: list[Identifier] = super().list_tables(namespace)
            return found

    def list_namespaces(self, namespace: str | Identifier = ()) -> list[Identifier]:
        """The namespaces in `namespace`; raises as `list_tables` does."""
        with _few_pages():
            found: list[Identifier] = super().list_namespaces(namespace)
            return found

    @retry(**_RETRY_ARGS)  # type: ignore[call-overload, untyped-decorator] # PyIceberg's arguments have no types
    def load_table(self, identifier: str | tuple[str, ...]) -> Table:
        """The table in its current state; metadata that was answered before is not parsed again."""
        path = self._split_identifier_for_path(identifier)
        response = self._session.get(self.url(Endpoints.load_table, prefixed=True, **path))
        try:
            response.raise_for_status()
        except HTTPError as error:
            _handle_non_200_response(error, {404: NoSuchTableError})
        answer = _TableAnswer.model_validate_json(response.content)
        found = TableResponse.model_construct(
            metadata_location=answer.metadata_location,
            metadata=metadata_cache.parse(self._key, answer.metadata_location, answer.metadata),
            config=answer.config,
            storage_credentials=answer.storage_credentials,
        )
        return self._response_to_table(self.identifier_to_tuple(identifier), found)

    def _response_to_table(self, identifier_tuple: tuple[str, ...], table_response: TableResponse) -> Table:
        # Properties of the table are not used: the writers of the table set them.
        lent = self._resolve_storage_credentials(
            table_response.storage_credentials, table_response.metadata_location or table_response.metadata.location
        )
        config = {**table_response.config, **lent}
        return Table(
            identifier=identifier_tuple,
            metadata=table_response.metadata,
            metadata_location=table_response.metadata_location or "",
            io=AccessIO(self._access_of(config)),
            catalog=self,
        )


@contextmanager
def _few_pages() -> Iterator[None]:
    _listing.pages = _MOST_PAGES
    try:
        yield
    finally:
        _listing.pages = None


class _BoundedAdapter(HTTPAdapter):
    """Sends requests through the egress proxy, with time limits, and reads answers of limited size."""

    def __init__(self, network: Network) -> None:
        self._context: ssl.SSLContext = verifying_context(network.certificates)
        self._seconds = network.read_timeout
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the class above has them
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as above
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)

    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override] # noqa: ANN401 - as above
        pages = getattr(_listing, "pages", None)
        if pages is not None:
            if not pages:
                message = f"The catalog's list has more than {_MOST_PAGES} pages."
                raise DeliveryError(EXPORT_FAILED, message, "Register the tables one by one, by their names.")
            _listing.pages = pages - 1
        options |= {"timeout": (_CONNECT_SECONDS, self._seconds), "stream": True}
        answer = super().send(request, **options)
        content = self._read(answer)
        if len(content) > _LARGEST:
            answer.close()
            message = f"The catalog's answer is larger than {_LARGEST // 1024**2} MiB."
            raise DeliveryError(EXPORT_FAILED, message, "Expire old snapshots of the table.")
        answer._content = content  # noqa: SLF001 - what `requests` itself sets
        return answer

    def _read(self, answer: Response) -> bytes:
        """The content, up to a little over the limit. Raises `ReadTimeout` when it takes far too long."""
        deadline = time.monotonic() + _TIMES_THE_TIMEOUT * self._seconds
        content = bytearray()
        while len(content) <= _LARGEST and (chunk := answer.raw.read1(_CHUNK, decode_content=True)):
            content += chunk
            if time.monotonic() > deadline:
                answer.close()
                raise ReadTimeout("the answer takes too long")
        return bytes(content)
