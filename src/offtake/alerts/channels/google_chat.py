"""Google Chat: a text message of an incoming webhook."""

from typing import Final

from offtake.alerts.channels.base import ChannelKind, SendContext
from offtake.alerts.channels.chat import ChatSettings, post_document
from offtake.alerts.notices import Notice
from offtake.documents import Json

_NO_MARKUP: Final = str.maketrans({"<": "‹", ">": "›", "*": "∗", "`": "'", "~": "∼"})  # noqa: RUF001 - they look alike
"""Google Chat cannot escape the characters of its markup: mentions and links are written in angle brackets."""


def send(settings: ChatSettings, notice: Notice, context: SendContext) -> str:
    """Post the notice."""
    return post_document(settings, context, document(notice))


def document(notice: Notice) -> Json:
    """The message."""
    lines = [line.translate(_NO_MARKUP) for line in (notice.headline(), *notice.details())]
    return {"text": "\n".join([f"*{lines[0]}*", *lines[1:]])}


KIND: Final = ChannelKind(
    name="google-chat",
    title="Google Chat",
    description="Posts to a space of Google Chat through an incoming webhook.",
    model=ChatSettings,
    send=send,
)
