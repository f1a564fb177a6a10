"""Channels, rules and messages of alerts, for clients: their paths, and the settings of each kind of channel."""

from collections.abc import Mapping, Sequence
from typing import Final

from offtake.client.destinations import Field
from offtake.client.names import Kind
from offtake.client.server import FLOW_SERVICE

CHANNEL: Final = Kind("alertChannels", "alert channel")
RULE: Final = Kind("alertRules", "alert rule")
EXTENSION: Final = "alerts"
"""What errors call it, of servers that do not have it."""
MESSAGES: Final = f"{FLOW_SERVICE}/alertMessages"
_CHAT: Final = (Field("url", "URL of the incoming webhook.", "string", required=True, secret=True),)
SETTINGS: Final[Mapping[str, Sequence[Field]]] = {
    "webhook": (
        Field("url", "URL that receives the messages.", "string", required=True),
        Field("secret", "Secret that signs them.", "string", secret=True),
        Field("authorization", "Value of an Authorization header.", "string", secret=True),
    ),
    "email": (Field("to", "E-mail addresses.", "array", required=True),),
    "slack": _CHAT,
    "teams": _CHAT,
    "google-chat": _CHAT,
}
"""The settings of each kind of channel."""
TOPICS: Final = (
    "started", "delivered", "nothing-new", "failed", "waiting", "late", "recovered", "ending", "disabled", "owed-files",
    "import-failed", "capacity",
)  # fmt: skip
DEFAULT_TOPICS: Final = tuple(one for one in TOPICS if one not in ("started", "delivered", "nothing-new"))
"""The topics of a rule that names none."""
