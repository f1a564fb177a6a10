"""Credentials of a service principal of Microsoft Entra ID, shared by the two Azure destinations."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from offtake.destinations.drivers.azure_account import Account, ServicePrincipalLogin
from offtake.destinations.parameters import Params


class PrincipalParams(Params):
    """The service principal and its authority; each destination adds the account."""

    service_principal_id: str = Field(
        min_length=1,
        description="Service Principal Id to connect with.",
        examples=["00000000-0000-0000-0000-000000000000"],
    )
    service_principal_key: SecretStr = Field(
        min_length=1, description="Service Principal Key to connect with.", examples=["a client secret"]
    )
    tenant: str = Field(
        pattern=r"^[A-Za-z0-9.-]{1,253}$",
        description="Tenant information(domain name or tenant ID).",
        examples=["example.onmicrosoft.com"],
    )
    authority_url: str | None = Field(
        default=None,
        pattern=r"^https://[^/?#@\s]+/?$",
        title="Authority",
        description="Authority that signs the service principal in; default: that of the account's cloud. "
        "An extension of this project.",
        examples=["https://login.microsoftonline.com"],
    )

    def principal(self) -> ServicePrincipalLogin:
        """The service principal's login."""
        return ServicePrincipalLogin(
            tenant=self.tenant,
            client_id=self.service_principal_id,
            secret=self.service_principal_key.get_secret_value(),
            authority=self.authority_url.rstrip("/") if self.authority_url else None,
        )

    def endpoint_hosts_with(self, account: Account) -> dict[str, str]:
        """The hosts of the account and of the authority, unless they are Microsoft's."""
        found = {} if account.is_vendor_endpoint else {"url": urlsplit(account.endpoint).hostname or ""}
        return found | ({"authorityUrl": urlsplit(self.authority_url).hostname or ""} if self.authority_url else {})
