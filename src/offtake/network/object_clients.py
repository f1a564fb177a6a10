"""Options of the object stores' driver (obstore): retries, time limits, and connections under the network's rules."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from offtake.network.egress import Network
from offtake.network.egress_proxy import operators_proxy, proxy_url

if TYPE_CHECKING:
    # The driver states these types in its stubs only.
    from obstore.store import ClientConfig, RetryConfig, S3Config

RETRIES: "Final[RetryConfig]" = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=120),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""The driver's own quick retries; after them, the run retries with longer waits."""


def signed_at(url: str) -> "S3Config":
    """Settings for signed requests to the endpoint, whatever the server's environment says.

    The driver would use `AWS_SKIP_SIGNATURE`, `AWS_REQUESTER_PAYS` and `AWS_ENDPOINT_URL_S3` of the environment, the
    last even before the setting `endpoint`.
    """
    return {"skip_signature": False, "request_payer": False, "aws_endpoint_url_s3": url}


def bucket_url(url: str, bucket: str) -> str:
    """The URL of the bucket in the virtual-hosted style."""
    split = urlsplit(url)
    return split._replace(netloc=f"{bucket}.{split.netloc}").geturl()


def amazon_url(region: str) -> str:
    """The URL of Amazon S3 in a region."""
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


@dataclass(frozen=True)
class Endpoint:
    """A URL for the driver. `chosen`: a user or a setting chose it; else it is one of the vendor's own."""

    url: str
    chosen: bool


def client_options(network: Network, *endpoints: Endpoint) -> "ClientConfig":
    """The driver's options for connecting to these endpoints and to their redirects.

    The driver follows redirects, and resolves names for each connection, so it connects through the egress proxy. Only
    hosts that cannot resolve to another address after the check are reached directly, without that cost. Raises
    `DeliveryError` when a chosen endpoint cannot be resolved or is denied.
    """
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=min(10, network.read_timeout)),
        # An idle timeout: the request is retried; a response in progress may take longer.
        "read_timeout": timedelta(seconds=network.read_timeout),
        "timeout": timedelta(seconds=5 * network.read_timeout),
        "allow_http": True,
    }
    if network.certificates is not None:
        options["root_certificate"] = network.certificates
    options["proxy_url"] = proxy_url(network)
    direct = [host for one in endpoints if (host := _checked_endpoint(network, one)) is not None]
    if direct:
        options["proxy_excludes"] = ",".join(direct)
    return options


def _checked_endpoint(network: Network, endpoint: Endpoint) -> str | None:
    """The endpoint's host if the driver may connect directly, else None; raises like `client_options`."""
    url = urlsplit(endpoint.url)
    host = url.hostname or ""
    if endpoint.chosen:
        network.resolve(host, url.port or 443)
    if operators_proxy(url.scheme, host) is not None:
        return None
    return host if not endpoint.chosen or network.is_settled(host) else None
