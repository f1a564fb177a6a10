"""How clients and people sign in."""

from typing import Annotated

from pydantic import Field, SecretStr

OidcIssuer = Annotated[
    str | None,
    Field(description="URL of an OpenID Connect issuer whose tokens are accepted in addition to Offtake's own."),
]
OidcAudience = Annotated[
    str | None,
    Field(
        description="The audience that the issuer's tokens must name. Without it, the API accepts no tokens of the "
        "issuer; it may only be missing if `oidc_web_client_id` is set."
    ),
]
OidcClientClaim = Annotated[
    str, Field(description="The claim of the issuer's tokens that holds the id of a client registered here.")
]
OidcWebClientId = Annotated[
    str | None,
    Field(
        description="Id of the pages' client at the issuer. People then sign in to the pages through the issuer, which "
        "must have an https URL (http only on the loopback address). Default: they sign in with API clients only."
    ),
]
OidcWebClientSecret = Annotated[
    SecretStr | None,
    Field(
        description="Secret of the pages' client at the issuer. Default: a public client, which PKCE alone protects."
    ),
]
OidcScopes = Annotated[
    str,
    Field(
        description="Scopes that the pages request from the issuer, separated by spaces; `openid` must be one of them."
    ),
]
OidcPersonClaim = Annotated[
    str,
    Field(
        description="The claim of ID tokens that, with the issuer, identifies a person. Its values must be unique and "
        "never assigned to another person. After a change of this setting, everyone is a new person without roles."
    ),
]
OidcGroupsClaim = Annotated[
    str | None,
    Field(
        description="The claim of ID tokens with a person's groups: at each sign-in, the person gets the roles whose "
        "names equal a group, and loses those that came from other groups. Default: roles are assigned here only."
    ),
]
SignInsPerMinute = Annotated[
    int,
    Field(
        ge=1,
        description="Rate limit: failed sign-ins per minute of one client id from one address. One address with all "
        "ids together may fail six times as often.",
    ),
]
