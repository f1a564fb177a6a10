"""The form of all kinds of channels: their settings, which of these are secret, and how a notice is sent."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Final, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr
from pydantic.alias_generators import to_camel

from offtake.alerts.notices import Notice, one_line
from offtake.errors import ACCESS_DENIED, DESTINATION_UNAVAILABLE, DeliveryError
from offtake.network import http
from offtake.network.egress import Network
from offtake.network.smtp import SmtpServer

SECONDS: Final = 10.0
"""The deadline of one attempt, which a receiver cannot extend."""
_LARGEST: Final = 4096
_SHOWN: Final = 200
_LONGEST_URL: Final = 2000
_SHORTEST_SECRET: Final = 6
_URL: Final = re.compile(r"[\x21-\x7e]+")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
REFUSES_MESSAGE: Final = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 431})
"""Statuses by which a receiver refuses this message: the same bytes would be refused again."""


class ChannelSettings(BaseModel):
    """The settings of a channel: camel-case keys; unknown keys are refused. Fields of type `SecretStr` are secret."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, hide_input_in_errors=True, frozen=True)

    generated: ClassVar[frozenset[str]] = frozenset()
    """Secrets that are generated when they are not given, and then shown once."""

    @property
    def origin(self) -> str | None:
        """The server that receives the secrets, as `scheme://host:port`; they are bound to it. None without one."""
        return None

    @classmethod
    def secrets(cls) -> frozenset[str]:
        """The keys of the settings that are secret."""
        return frozenset(
            field.alias or name for name, field in cls.model_fields.items() if _is_secret(field.annotation)
        )


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_is_secret(one) for one in get_args(annotation))


@dataclass(frozen=True)
class MailServer:
    """The deployment's SMTP server. `domains`: those of allowed recipients; empty for any."""

    server: SmtpServer
    sender: str
    domains: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SendContext:
    """What sending needs of the deployment. `now_s`: epoch seconds, for signatures."""

    network: Network
    mail: MailServer | None
    now_s: int


@dataclass(frozen=True)
class ChannelKind:
    """A kind of channel. `send` sends a notice and returns what the receiver answered, in a few words.

    `send` raises `DeliveryError`; if that is not transient, the same message would be refused again. Its message never
    contains a secret.
    """

    name: str
    title: str
    description: str
    model: type[ChannelSettings]
    send: Callable[[Any, Notice, SendContext], str]


def _web_url(sent: str) -> str:
    try:
        split = urlsplit(sent)
        host, _ = split.hostname, split.port
    except ValueError:
        host = None
    if not host or split.scheme not in ("http", "https") or not _URL.fullmatch(sent) or len(sent) > _LONGEST_URL:
        raise ValueError("must be a URL that starts with https:// or http://")
    if split.username or split.password:
        raise ValueError("must not contain a user or a password")
    if split.fragment:
        raise ValueError("must not contain a fragment (#)")
    return sent


def _secret_url(sent: SecretStr) -> SecretStr:
    url = _web_url(sent.get_secret_value())
    if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in _LOOPBACK:
        raise ValueError("must start with https://: the URL is a secret")
    return sent


WebUrl = Annotated[str, AfterValidator(_web_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname}:{split.port or (443 if split.scheme == 'https' else 80)}"


def post(url: str, context: SendContext, body: bytes, headers: Mapping[str, str]) -> str:
    """Send a body; returns the status of a success. Raises `DeliveryError` for others, with what the receiver says.

    That does not have the secret parts of the URL and of an Authorization header, which error pages repeat.
    """
    answer = http.post(url, context.network, body, headers, largest=_LARGEST, seconds=SECONDS)
    status = _phrase(answer.status)
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return status
    host = urlsplit(url).hostname
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        message = f"{host} answers with a redirect ({status}), which is not followed."
        raise DeliveryError(DESTINATION_UNAVAILABLE, message, "Set the final URL.", transient=True)
    permanent = answer.status in REFUSES_MESSAGE
    said = one_line(_without(_secret_parts(url, headers.get("Authorization", "")), answer.text), _SHOWN)
    raise DeliveryError(
        ACCESS_DENIED if permanent else DESTINATION_UNAVAILABLE,
        f"{host} answers {status}{': ' + said if said else ''}.",
        "Correct the URL or the receiver.",
        transient=not permanent,
        retry_after=answer.retry_after,
    )


def _secret_parts(url: str, authorization: str) -> set[str]:
    split = urlsplit(url)
    values = [one.partition("=")[2] for one in split.query.split("&")]
    long = (url, split.path, split.query, *split.path.split("/"), *split.query.split("&"))
    parts = {one for one in long if len(one) > len("/services")}
    parts |= {one for one in (*values, authorization, *authorization.split()[1:]) if len(one) >= _SHORTEST_SECRET}
    return parts | {unquote(one) for one in parts}


def _without(secrets: set[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
