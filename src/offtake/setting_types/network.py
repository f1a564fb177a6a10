"""What the server connects to: destinations, catalogs and the SMTP server."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from offtake.setting_types.reading import Networks

MultiUser = Annotated[
    bool | None,
    Field(
        description="SSRF protection: connections of API users reach public addresses only, not this machine's "
        "network. Default: true when `offtake serve` listens on more than the loopback address."
    ),
]
CheckConnections = Annotated[
    bool,
    Field(
        description="Test base and target connections when they are created: a small object is written and removed. A "
        "connection that fails the test is refused."
    ),
]
EgressAllow = Annotated[
    Networks,
    Field(
        description="Allow-list: networks that stay reachable under `multi_user`, such as `10.2.0.0/16`, separated by "
        "commas."
    ),
]
EgressDeny = Annotated[
    Networks,
    Field(
        description="Deny-list: networks that connections never reach, separated by commas. Wins over `egress_allow`."
    ),
]
ReadTimeoutSeconds = Annotated[
    float, Field(gt=0, description="Read timeout of a destination, in seconds; after it, the request is retried.")
]
CaFile = Annotated[
    Path | None, Field(description="PEM file of certificate authorities that are trusted in addition to the system's.")
]
SmtpUrl = Annotated[
    SecretStr | None,
    Field(
        description="SMTP server for e-mails of alerts: `smtps://user:password@host` (TLS) or "
        "`smtp://user:password@host` (STARTTLS, required). `smtp://host:25?tls=off` sends without encryption and "
        "without a login. Default: no e-mails."
    ),
]
SmtpFrom = Annotated[
    str | None,
    Field(description="Sender address of the e-mails, required with `smtp_url`, such as offtake@example.org."),
]
SmtpDomains = Annotated[
    str,
    Field(
        description="Domains that e-mails may be sent to, separated by commas. Default: any; users who may manage "
        "destinations choose the recipients."
    ),
]
