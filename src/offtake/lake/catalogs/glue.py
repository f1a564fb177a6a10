"""The Glue Data Catalog, by PyIceberg, with a client that connects under the network's rules."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import boto3
from botocore.config import Config
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.io import PY_IO_IMPL, FileIO

from offtake.lake.catalogs.declarations import IDENTITY
from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.iceberg_io import REFUSING, AccessIO
from offtake.network.egress import Network
from offtake.network.egress_proxy import proxy_url

_RETRIES: Final = 4


def open_glue(
    name: str, properties: Mapping[str, str], network: Network, access: Callable[[], FileAccess]
) -> GlueCatalog:
    """Open the catalog; its tables' files are opened by `access`. Raises botocore's errors and `LocationError`."""

    class Reading(GlueCatalog):
        def _load_file_io(self, properties: Any = None, location: str | None = None) -> FileIO:  # noqa: ANN401, ARG002 - PyIceberg's signature
            return AccessIO(access())

    client = _client(properties, network)
    if catalog_id := properties.get("glue.id"):
        _name_catalog(client, catalog_id)
    return Reading(name, client, **{PY_IO_IMPL: REFUSING})


def _client(found: Mapping[str, str], network: Network) -> Any:  # noqa: ANN401 - clients have no static type

    def value(name: str) -> str | None:
        return found.get(f"glue.{name}") or found.get(f"client.{name}") or found.get(f"s3.{name}")

    if not value("access-key-id") and found.get(IDENTITY) != "s3":
        raise LocationError("The catalog has no access key. Set glue.access-key-id and glue.secret-access-key.")
    session = boto3.Session(
        aws_access_key_id=value("access-key-id"),
        aws_secret_access_key=value("secret-access-key"),
        aws_session_token=value("session-token"),
        region_name=value("region") or "us-east-1",
    )
    proxy = proxy_url(network)
    options = Config(
        proxies={"http": proxy, "https": proxy},
        retries={"max_attempts": _RETRIES, "mode": "standard"},
        read_timeout=network.read_timeout,
        connect_timeout=10,
    )
    return session.client("glue", endpoint_url=found.get("glue.endpoint"), config=options)


def _name_catalog(client: Any, catalog_id: str) -> None:  # noqa: ANN401 - as above
    def add(params: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - botocore's event
        params.setdefault("CatalogId", catalog_id)

    client.meta.events.register("provide-client-params.glue", add)
