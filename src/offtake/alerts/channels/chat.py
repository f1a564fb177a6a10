"""What the kinds of chat channels share: the URL of an incoming webhook, which is a secret."""

import json

from pydantic import Field

from offtake import __version__
from offtake.alerts.channels.base import ChannelSettings, SecretUrl, SendContext, origin_of, post
from offtake.documents import Json


class ChatSettings(ChannelSettings):
    """The URL of an incoming webhook."""

    url: SecretUrl = Field(
        title="Webhook URL",
        description="The incoming webhook's URL. It is a secret: anyone who knows it can post.",
        examples=["https://hooks.example.org/services/…"],
    )

    @property
    def origin(self) -> str:
        """The URL's server."""
        return origin_of(self.url.get_secret_value())


def post_document(settings: ChatSettings, context: SendContext, document: Json) -> str:
    """Send a JSON document to the webhook; returns the answer's status. Raises `DeliveryError`."""
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"Offtake/{__version__}"}
    return post(settings.url.get_secret_value(), context, json.dumps(document).encode(), headers)
