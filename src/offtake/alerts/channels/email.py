"""E-mail through the deployment's SMTP server."""

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from offtake.alerts.channels.base import SECONDS, ChannelKind, ChannelSettings, SendContext
from offtake.alerts.notices import Notice
from offtake.errors import ACCESS_DENIED, DeliveryError
from offtake.network.smtp import send_mail

_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LONGEST: Final = 254
_ENCODED: Final = "=?"
"""The start of an encoded word. `EmailMessage` decodes them in what it is given, also to line breaks."""
_ROUTED: Final = re.compile("[%!]")
"""Mail servers may forward `user%other.example@example.org` and `other.example!user@…` to the other domain."""
_SESSION_SECONDS: Final = 2 * SECONDS


def _address(sent: str) -> str:
    if not _ADDRESS.fullmatch(sent) or len(sent) > _LONGEST or _ENCODED in sent:
        raise ValueError("must be e-mail addresses such as team@example.org, without names")
    return sent


class EmailSettings(ChannelSettings):
    """The recipients. The server is the deployment's (`OFFTAKE_SMTP_URL`)."""

    to: list[Annotated[str, AfterValidator(_address)]] = Field(
        min_length=1,
        max_length=20,
        title="Recipients",
        description="The e-mail addresses that receive the messages, 1 to 20.",
        examples=[["exports@example.org"]],
    )


def send(settings: EmailSettings, notice: Notice, context: SendContext) -> str:
    """Send the notice to all recipients."""
    mail = context.mail
    if mail is None:
        raise DeliveryError(
            ACCESS_DENIED,
            "This deployment has no SMTP server.",
            "Ask the operator to set OFFTAKE_SMTP_URL and OFFTAKE_SMTP_FROM.",
            transient=True,
        )
    others = [one for one in settings.to if mail.domains and not _is_within(one, mail.domains)]
    if others:
        raise DeliveryError(
            ACCESS_DENIED,
            f"This deployment does not send e-mails to {others[0]}.",
            f"Use addresses of {', '.join(sorted(mail.domains))}, or ask the operator to allow the domain in "
            "OFFTAKE_SMTP_DOMAINS.",
        )
    refused = send_mail(
        mail.server, context.network, compose(settings, notice, mail.sender), settings.to, seconds=_SESSION_SECONDS
    )
    if not refused:
        return "accepted"
    return "accepted; refused: " + "; ".join(f"{one}: {reply}" for one, reply in refused.items())


def _is_within(address: str, domains: frozenset[str]) -> bool:
    local, _, domain = address.rpartition("@")
    return domain.lower() in domains and not _ROUTED.search(local)


def compose(settings: EmailSettings, notice: Notice, sender: str) -> EmailMessage:
    """The e-mail. Its Message-ID is the same in each attempt."""
    found = EmailMessage(policy=SMTP)
    found["From"] = sender
    found["To"] = ", ".join(settings.to)
    found["Subject"] = f"[Offtake] {notice.headline().replace(_ENCODED, '= ?')}"
    found["Date"] = format_datetime(datetime.fromtimestamp(notice.at_ms / 1000, UTC))
    found["Message-ID"] = f"<{notice.id}@{sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    found.set_content("\n".join([notice.headline(), "", *notice.details()]) + "\n", charset="utf-8")
    return found


KIND: Final = ChannelKind(
    name="email",
    title="E-mail",
    description="Sends e-mails through the deployment's SMTP server.",
    model=EmailSettings,
    send=send,
)
