"""The OpenID Connect issuer of a deployment, from its settings."""

from urllib.parse import urlsplit

from offtake.access.oidc_issuer import ExternalIssuer
from offtake.access.oidc_sign_in import IssuerSignIn, PagesClient, is_loopback_url, is_safe
from offtake.errors import OfftakeError
from offtake.network.egress import Network
from offtake.settings import Settings


def issuer_of(settings: Settings, network: Network) -> ExternalIssuer | None:
    """The issuer, None if none is configured; raises `OfftakeError` for settings that are not safe."""
    if settings.oidc_issuer is None:
        if settings.oidc_web_client_id is not None:
            raise OfftakeError("OFFTAKE_OIDC_ISSUER is not set. OFFTAKE_OIDC_WEB_CLIENT_ID is a client of that issuer.")
        return None
    if settings.oidc_audience is None and settings.oidc_web_client_id is None:
        raise OfftakeError(
            "OFFTAKE_OIDC_AUDIENCE is not set. It is required, or tokens for other services would be accepted."
        )
    network = network.for_operator()
    url = urlsplit(settings.oidc_issuer)
    if url.scheme not in ("http", "https") or network.is_host_denied(url.hostname or ""):
        raise OfftakeError("OFFTAKE_OIDC_ISSUER must be an http(s) URL, and not a metadata or link-local address.")
    return ExternalIssuer(settings.oidc_issuer, settings.oidc_audience, settings.oidc_client_claim, network)


def sign_in_of(settings: Settings, issuer: ExternalIssuer | None, network: Network) -> IssuerSignIn | None:
    """Signing in to the pages through the issuer, None if it is not configured; raises `OfftakeError` as above."""
    if issuer is None or settings.oidc_web_client_id is None:
        return None
    if not is_safe(issuer.url, loopback=is_loopback_url(issuer.url)):
        raise OfftakeError(
            "OFFTAKE_OIDC_ISSUER must be an https URL if OFFTAKE_OIDC_WEB_CLIENT_ID is set "
            "(http only on the loopback address)."
        )
    if "openid" not in settings.oidc_scopes.split():
        raise OfftakeError("OFFTAKE_OIDC_SCOPES must contain openid, or the issuer does not identify people.")
    secret = settings.oidc_web_client_secret
    client = PagesClient(
        settings.oidc_web_client_id,
        None if secret is None else secret.get_secret_value(),
        settings.oidc_scopes,
        settings.oidc_person_claim,
        settings.oidc_groups_claim,
    )
    return IssuerSignIn(issuer, client, network, settings.sign_ins_per_minute)
