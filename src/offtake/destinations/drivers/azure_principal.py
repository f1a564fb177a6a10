"""Credentials of a service principal of Microsoft Entra ID, shared by the two Azure destinations."""

from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from offtake.destinations.drivers.azure_account import Account, ServicePrincipalLogin
from offtake.destinations.parameters import EXTENSION, Params


class PrincipalParams(Params):
    """The service principal and its authority; each destination adds the account."""

    advanced: ClassVar[frozenset[str]] = frozenset({"authority_url"})

    service_principal_id: str = Field(
        min_length=1,
        title="Application (client) id",
        description="Id of the service principal's application. In the Azure portal: Microsoft Entra ID, App "
        "registrations, the application, Overview.",
        examples=["00000000-0000-0000-0000-000000000000"],
    )
    service_principal_key: SecretStr = Field(
        min_length=1,
        title="Client secret",
        description="The value of a client secret, not its id. It is shown only when it is created, under "
        "Certificates & secrets of the application.",
        examples=["a client secret"],
    )
    tenant: str = Field(
        pattern=r"^[A-Za-z0-9.-]{1,253}$",
        title="Tenant",
        description="Directory (tenant) id or domain name, from the application's Overview.",
        examples=["example.onmicrosoft.com"],
    )
    authority_url: str | None = Field(
        default=None,
        pattern=r"^https://[^/?#@\s]+/?$",
        title="Authority",
        description="Authority that signs the service principal in. Default: that of the account's cloud.",
        examples=["https://login.microsoftonline.com"],
        json_schema_extra=EXTENSION,
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
