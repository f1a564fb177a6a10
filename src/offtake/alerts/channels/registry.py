"""All kinds of channels. A new one is one file and one line here."""

from collections.abc import Mapping
from typing import Final

from offtake.alerts.channels import email, google_chat, slack, teams, webhook
from offtake.alerts.channels.base import ChannelKind

KINDS: Final[Mapping[str, ChannelKind]] = {
    one.name: one for one in (webhook.KIND, email.KIND, slack.KIND, teams.KIND, google_chat.KIND)
}
