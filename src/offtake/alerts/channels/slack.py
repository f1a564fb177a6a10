"""Slack: a message of an incoming webhook. Plain-text blocks, so that names cannot contain mentions or links."""

from typing import Final

from offtake.alerts.channels.base import ChannelKind, SendContext
from offtake.alerts.channels.chat import ChatSettings, post_document
from offtake.alerts.notices import Notice
from offtake.documents import Json

_LONGEST_HEADER: Final = 150
_LONGEST_SECTION: Final = 3000


def send(settings: ChatSettings, notice: Notice, context: SendContext) -> str:
    """Post the notice."""
    return post_document(settings, context, document(notice))


def document(notice: Notice) -> Json:
    """The message: `text` is what desktop notifications show, which Slack parses as markup."""
    headline = notice.headline()
    lines = notice.details() if len(headline) <= _LONGEST_HEADER else notice.lines()
    escaped = headline.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        "text": escaped,
        "unfurl_links": False,
        "blocks": [
            {"type": "header", "text": _plain(headline, _LONGEST_HEADER)},
            {"type": "section", "text": _plain("\n".join(lines), _LONGEST_SECTION)},
        ],
    }


def _plain(text: str, longest: int) -> Json:
    return {"type": "plain_text", "emoji": False, "text": text if len(text) <= longest else f"{text[: longest - 1]}…"}


KIND: Final = ChannelKind(
    name="slack",
    title="Slack",
    description="Posts to a channel of Slack through an incoming webhook.",
    model=ChatSettings,
    send=send,
)
