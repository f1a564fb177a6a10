"""A webhook: one CloudEvent in JSON for each message, signed with HMAC-SHA256."""

import hashlib
import hmac
import json
import re
from typing import Annotated, ClassVar, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr

from offtake import __version__
from offtake.alerts.channels.base import ChannelKind, ChannelSettings, SendContext, WebUrl, origin_of, post
from offtake.alerts.notices import Notice, iso_instant
from offtake.documents import Json

SIGNATURE: Final = "Offtake-Signature"
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,3998}[\x21-\x7e])?")
_KEY: Final = re.compile(r"[\x21-\x7e]{16,500}")
_INSTANTS: Final = ("at", "since", "slot", "until")
_TYPE: Final = "application/cloudevents+json; charset=utf-8"


def _is_header_value(sent: SecretStr) -> SecretStr:
    if not _PRINTABLE.fullmatch(sent.get_secret_value()):
        raise ValueError("must have at most 4000 printable ASCII characters, and no space at its ends")
    return sent


def _is_key(sent: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(sent.get_secret_value()):
        raise ValueError("must have 16 to 500 printable ASCII characters without spaces")
    return sent


class WebhookSettings(ChannelSettings):
    """A URL, and the secret with which requests to it are signed."""

    generated: ClassVar[frozenset[str]] = frozenset({"secret"})

    url: WebUrl = Field(
        title="URL",
        description="The URL that receives the messages by POST. Everyone who can see the channel can see it.",
        examples=["https://hooks.example.org/offtake"],
    )
    secret: Annotated[SecretStr, AfterValidator(_is_key)] = Field(
        title="Signing secret",
        description="The secret with which the receiver verifies signatures. Default: a generated one, shown once.",
        examples=["at least 16 characters"],
    )
    authorization: Annotated[SecretStr, AfterValidator(_is_header_value)] | None = Field(
        default=None,
        title="Authorization header",
        description="Value of an Authorization header, for receivers that need one.",
        examples=["Bearer a-token"],
    )

    @property
    def origin(self) -> str:
        """The URL's server."""
        return origin_of(self.url)


def send(settings: WebhookSettings, notice: Notice, context: SendContext) -> str:
    """Send the notice as a CloudEvent."""
    body = json.dumps(cloud_event(notice), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Content-Type": _TYPE,
        "User-Agent": f"Offtake/{__version__}",
        SIGNATURE: signature(settings.secret.get_secret_value(), context.now_s, body),
    }
    if settings.authorization is not None:
        headers["Authorization"] = settings.authorization.get_secret_value()
    return post(settings.url, context, body, headers)


def signature(secret: str, at_s: int, body: bytes) -> str:
    """The header's value: the timestamp, and HMAC-SHA256 over `timestamp.body` in hexadecimal digits."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def cloud_event(notice: Notice) -> Json:
    """The notice as a CloudEvent 1.0 (structured mode)."""
    return {
        "specversion": "1.0",
        "id": notice.id,
        "source": f"/offtake/{quote(notice.organisation, safe='')}/{quote(notice.sandbox, safe='')}",
        "type": f"offtake.{notice.type}",
        "time": iso_instant(notice.at_ms),
        "subject": notice.cause,
        "datacontenttype": "application/json",
        "data": {
            "title": notice.headline(),
            "severity": notice.severity,
            "sandbox": notice.sandbox,
            "rule": notice.rule,
            "cause": notice.cause,
            "count": notice.count,
            "flowCount": notice.flows,
            "firstAt": iso_instant(notice.first_ms),
            "lastAt": iso_instant(notice.last_ms),
            "events": [_event(event) for event in notice.events],
        },
    }


def _event(event: Json) -> Json:
    return event | {key: iso_instant(event[key]) for key in _INSTANTS if isinstance(event.get(key), int)}


KIND: Final = ChannelKind(
    name="webhook",
    title="Webhook",
    description="Sends a signed CloudEvent to a URL.",
    model=WebhookSettings,
    send=send,
)
