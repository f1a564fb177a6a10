"""The SMTP server of the settings."""

import re
from typing import TYPE_CHECKING, Final

from offtake.errors import OfftakeError
from offtake.settings import Settings

if TYPE_CHECKING:
    from offtake.alerts.channels.base import MailServer

_SENDER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}")


def mail_of(settings: Settings) -> "MailServer | None":
    """The SMTP server for e-mails of alerts; None without one. Raises `OfftakeError` for inconsistent settings."""
    if settings.smtp_url is None or not settings.smtp_url.get_secret_value():
        return None
    from offtake.alerts.channels.base import MailServer  # noqa: PLC0415 - few deployments have an SMTP server
    from offtake.network.smtp import parse_url  # noqa: PLC0415 - as above

    server = parse_url(settings.smtp_url.get_secret_value())
    if settings.smtp_from is None or not _SENDER.fullmatch(settings.smtp_from):
        raise OfftakeError("OFFTAKE_SMTP_URL needs OFFTAKE_SMTP_FROM: an address such as offtake@example.org.")
    domains = (one.strip().lower() for one in settings.smtp_domains.split(","))
    return MailServer(server, settings.smtp_from, frozenset(one for one in domains if one))
