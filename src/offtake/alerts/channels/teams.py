"""Microsoft Teams: an Adaptive Card for the workflow "When a Teams webhook request is received"."""

from typing import Final

from offtake.alerts.channels.base import ChannelKind, SendContext
from offtake.alerts.channels.chat import ChatSettings, post_document
from offtake.alerts.notices import Notice
from offtake.documents import Json

_COLOURS: Final = {"problem": "Attention", "recovery": "Good", "information": "Default"}


def send(settings: ChatSettings, notice: Notice, context: SendContext) -> str:
    """Post the notice."""
    return post_document(settings, context, document(notice))


def document(notice: Notice) -> Json:
    """The message. Text runs are not parsed as Markdown, so names cannot contain links."""
    title = {"type": "TextRun", "text": notice.headline(), "weight": "Bolder", "color": _COLOURS[notice.severity]}
    blocks = [title, *({"type": "TextRun", "text": line} for line in notice.details())]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [one]} for one in blocks],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


KIND: Final = ChannelKind(
    name="teams",
    title="Microsoft Teams",
    description="Posts to a channel of Teams through a workflow with a webhook.",
    model=ChatSettings,
    send=send,
)
