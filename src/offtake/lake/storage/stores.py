"""The driver's stores (obstore), from properties with PyIceberg's names. Runs in worker processes too."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess, Place
from offtake.network.object_clients import RETRIES, SIGNED, Endpoint, client_options

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_IDENTITY: Final = "server-identity"
"""Property with which the operator lets the files of one kind of store be read with the server's own identity."""
_TRUE: Final = "true"


def store_of(access: FileAccess, place: Place) -> "ObjectStore":
    """The store of the bucket or container. Raises `DeliveryError` when its endpoint is denied."""
    return _store(access, place.bucket, place.account)


@lru_cache(maxsize=32)
def _store(access: FileAccess, bucket: str, account: str | None) -> "ObjectStore":
    if access.kind == "s3":
        return _s3(access, bucket)
    if access.kind == "gs":
        return _google(access, bucket)
    return _azure(access, bucket, account)


def _s3(access: FileAccess, bucket: str) -> "ObjectStore":
    from obstore.store import S3Store  # noqa: PLC0415 - slow to import, and local lakes do without

    properties = access.properties

    region = properties.get("s3.region") or properties.get("client.region") or "us-east-1"
    endpoint = properties.get("s3.endpoint")
    config: Any = {**SIGNED, "region": region}
    access_key = properties.get("s3.access-key-id") or properties.get("client.access-key-id")
    if access_key:
        config["access_key_id"] = access_key
        config["secret_access_key"] = properties.get("s3.secret-access-key") or properties.get(
            "client.secret-access-key", ""
        )
        token = properties.get("s3.session-token") or properties.get("client.session-token")
        if token:
            config["session_token"] = token
    elif properties.get("s3.anonymous") == _TRUE:
        config["skip_signature"] = True
    elif properties.get(_IDENTITY) != access.kind:
        raise LocationError(_without_credentials("s3.access-key-id and s3.secret-access-key"))
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
        config["virtual_hosted_style_request"] = properties.get("s3.force-virtual-addressing") == _TRUE
    url = endpoint or f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    options = client_options(access.network, Endpoint(url, chosen=endpoint is not None))
    return S3Store(bucket, config=config, client_options=options, retry_config=RETRIES)


def _google(access: FileAccess, bucket: str) -> "ObjectStore":
    from obstore.store import GCSStore  # noqa: PLC0415 - as above

    properties = access.properties

    host = properties.get("gcs.service.host")
    options = client_options(
        access.network, Endpoint(host or "https://storage.googleapis.com", chosen=host is not None)
    )
    config: Any = {}
    if host:
        config["base_url"] = host.rstrip("/")
    if token := properties.get("gcs.oauth2.token"):
        expires = access.expires_ms

        def credentials() -> Any:  # noqa: ANN401 - the driver's type is in its stubs only
            return {"token": token, "expires_at": datetime.fromtimestamp(expires / 1000, UTC) if expires else None}

        return GCSStore(
            bucket, config=config, client_options=options, retry_config=RETRIES, credential_provider=credentials
        )
    if account := properties.get("gcs.service-account-key"):
        config["service_account_key"] = account
    elif properties.get("gcs.anonymous") == _TRUE:
        config["skip_signature"] = True
    elif properties.get(_IDENTITY) != access.kind:
        raise LocationError(_without_credentials("gcs.oauth2.token or gcs.service-account-key"))
    return GCSStore(bucket, config=config, client_options=options, retry_config=RETRIES)


def _azure(access: FileAccess, bucket: str, named: str | None) -> "ObjectStore":
    from obstore.store import AzureStore  # noqa: PLC0415 - as above

    properties = access.properties

    account = properties.get("adls.account-name") or named
    if account is None:
        raise LocationError("The location names no storage account. Set adls.account-name in the catalog.")
    if named is not None and named != account:
        raise LocationError(f"The location is in the storage account {named}, not in the catalog's account {account}.")
    host = properties.get("adls.account-host")
    config: Any = {"account_name": account}
    if host:
        config["endpoint"] = host if "://" in host else f"https://{host}"
    sas = properties.get(f"adls.sas-token.{account}.dfs.core.windows.net") or properties.get(
        f"adls.sas-token.{account}", properties.get("adls.sas-token")
    )
    if secret := properties.get("adls.account-key"):
        config["account_key"] = secret
    elif sas:
        config["sas_key"] = sas
    elif secret := properties.get("adls.client-secret"):
        config["client_secret"] = secret
        config["client_id"] = properties.get("adls.client-id", "")
        config["tenant_id"] = properties.get("adls.tenant-id", "")
    elif properties.get(_IDENTITY) != access.kind:
        raise LocationError(_without_credentials("adls.account-key, adls.sas-token or adls.client-secret"))
    url = config.get("endpoint") or f"https://{account}.blob.core.windows.net"
    options = client_options(access.network, Endpoint(url, chosen=host is not None))
    return AzureStore(bucket, config=config, client_options=options, retry_config=RETRIES)


def _without_credentials(names: str) -> str:
    return (
        f"The catalog has no credentials for the files of its tables, and lent none. Set {names} in the catalog, "
        f"or let the operator set {_IDENTITY}."
    )
