"""The driver's stores (obstore), from properties with PyIceberg's names. Runs in worker processes too."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from offtake.lake.locations import LocationError
from offtake.lake.storage.access import FileAccess, Place
from offtake.network.object_clients import RETRIES, Endpoint, amazon_url, bucket_url, client_options, signed_at

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_IDENTITY: Final = "server-identity"
"""Property with which the operator lets the files of one kind of store be read with the server's own identity."""
_TRUE: Final = "true"


def forget_stores() -> None:
    """Close the stores that this process holds open."""
    _store.cache_clear()


def store_of(access: FileAccess, place: Place) -> "ObjectStore":
    """The store of the bucket or container. Raises `DeliveryError` when its endpoint is denied."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - slow to import, and local lakes do without

    try:
        return _store(access, place.bucket, place.account)
    except BaseError:
        # The driver's text can have the credential.
        raise LocationError("The credentials of the files' store have a form that the store does not use.") from None


@lru_cache(maxsize=32)
def _store(access: FileAccess, bucket: str, account: str | None) -> "ObjectStore":
    if access.kind == "s3":
        return _s3(access, bucket)
    if access.kind == "gs":
        return _google(access, bucket)
    return _azure(access, bucket, account)


def _s3(access: FileAccess, bucket: str) -> "ObjectStore":
    from obstore.store import S3Store  # noqa: PLC0415 - slow to import, and local lakes do without

    found = access.properties
    region = found.get("s3.region") or found.get("client.region") or "us-east-1"
    endpoint = found.get("s3.endpoint")
    is_virtual = found.get("s3.force-virtual-addressing") == _TRUE
    url = (endpoint or amazon_url(region)).rstrip("/")
    if is_virtual:
        url = bucket_url(url, bucket)  # as the driver needs it
    # What has a default is given too: the driver would take it from the server's own environment.
    config = signed_at(url)
    config["region"] = region
    config["virtual_hosted_style_request"] = is_virtual
    options: dict[str, Any] = {
        "client_options": client_options(access.network, Endpoint(url, chosen=endpoint is not None)),
        "retry_config": RETRIES,
    }
    access_key = found.get("s3.access-key-id") or found.get("client.access-key-id")
    if access_key:
        credential = {
            "access_key_id": access_key,
            "secret_access_key": found.get("s3.secret-access-key") or found.get("client.secret-access-key", ""),
            "token": found.get("s3.session-token") or found.get("client.session-token"),
            "expires_at": None,
        }
        options["credential_provider"] = lambda: credential
    elif found.get("s3.anonymous") == _TRUE:
        config["skip_signature"] = True
    elif found.get(_IDENTITY) != "s3":
        raise LocationError(_without_credentials("s3.access-key-id and s3.secret-access-key"))
    return S3Store(bucket, config=config, **options)


def _google(access: FileAccess, bucket: str) -> "ObjectStore":
    from obstore.store import GCSStore  # noqa: PLC0415 - as above

    found = access.properties
    host = found.get("gcs.service.host")
    url = (host or "https://storage.googleapis.com").rstrip("/")
    config: Any = {"base_url": url, "skip_signature": False}
    options: dict[str, Any] = {
        "client_options": client_options(access.network, Endpoint(url, chosen=host is not None)),
        "retry_config": RETRIES,
    }
    if token := found.get("gcs.oauth2.token"):
        expires = datetime.fromtimestamp(access.expires_ms / 1000, UTC) if access.expires_ms else None
        options["credential_provider"] = lambda: {"token": token, "expires_at": expires}
    elif account := found.get("gcs.service-account-key"):
        config["service_account_key"] = account
    elif found.get("gcs.anonymous") == _TRUE:
        # With `skip_signature` alone, the driver would ask the machine's metadata service for a token first.
        no_account = {
            "gcs_base_url": url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        config |= {"skip_signature": True, "service_account_key": json.dumps(no_account)}
    elif found.get(_IDENTITY) != "gs":
        raise LocationError(_without_credentials("gcs.oauth2.token or gcs.service-account-key"))
    return GCSStore(bucket, config=config, **options)


def _azure(access: FileAccess, bucket: str, named: str | None) -> "ObjectStore":
    from obstore.store import AzureStore  # noqa: PLC0415 - as above

    found = access.properties
    # A location alone does not choose the account: everyone can have one, which would get the credential.
    account = found.get("adls.account-name")
    if account is None and named is not None and _has_token_of(found, named):
        account = named
    if account is None:
        raise LocationError("The catalog does not name the storage account. Set adls.account-name in the catalog.")
    if named is not None and named != account:
        raise LocationError(f"The location is in the storage account {named}, not in the catalog's account {account}.")
    host = found.get("adls.account-host")
    url = (host or f"https://{account}.blob.core.windows.net").rstrip("/")
    config: Any = {
        "account_name": account,
        "endpoint": url,
        "skip_signature": False,
        **_azure_credential(found, account),
    }
    options = client_options(access.network, Endpoint(url, chosen=host is not None))
    return AzureStore(bucket, config=config, client_options=options, retry_config=RETRIES)


def _tokens_of(account: str) -> tuple[str, ...]:
    """The properties with a shared access signature of that account."""
    hosts = (f".{kind}.core.windows.net" for kind in ("dfs", "blob"))
    return (*(f"adls.sas-token.{account}{host}" for host in hosts), f"adls.sas-token.{account}")


def _has_token_of(found: Mapping[str, str], account: str) -> bool:
    return any(name in found for name in _tokens_of(account))


def _azure_credential(found: Mapping[str, str], account: str) -> dict[str, str]:
    """The credential and its type: else the driver could prefer one of the server's own environment."""
    names = (*_tokens_of(account), "adls.sas-token")
    signature = next((found[name] for name in names if name in found), None)
    if key := found.get("adls.account-key"):
        return {"account_key": key, "credential_type": "access_key"}
    if signature:
        return {"sas_key": signature, "credential_type": "sas_token"}
    if secret := found.get("adls.client-secret"):
        return {
            "client_secret": secret,
            "client_id": found.get("adls.client-id", ""),
            "tenant_id": found.get("adls.tenant-id", ""),
            "authority_host": "https://login.microsoftonline.com",
            "credential_type": "client_secret",
        }
    if found.get(_IDENTITY) == "azure":
        return {}
    raise LocationError(_without_credentials("adls.account-key, adls.sas-token or adls.client-secret"))


def _without_credentials(names: str) -> str:
    return (
        f"The catalog has no credentials for the files of its tables, and lent none. Set {names} in the catalog, "
        f"or let the operator set {_IDENTITY}."
    )
