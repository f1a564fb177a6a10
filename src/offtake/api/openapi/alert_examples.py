"""Invented examples of channels, rules and messages of alerts, an extension of Flow Service."""

from typing import Final

from offtake.api.openapi import examples
from offtake.api.openapi.examples import STAMP
from offtake.documents import Json

CHANNEL_ID: Final = "b1c1f5b4-5f0e-4a53-9d0b-6c2f0a1d7e11"
RULE_ID: Final = "3b0f0a52-7c1d-4e0e-8a44-0d9f6b1f2c22"
MESSAGE_ID: Final = "01KJM8QF0G3V9YB6X2T4R8N5MD"
_FLOW_ID: Final = "9f5ab5a2-7d5e-4c83-a7ce-33efbd55fd0f"
_ETAG: Final = '"26013a41-0000-4200-8000-6361687a0000"'
NEW_CHANNEL: Final[Json] = {
    "name": "operations",
    "kind": "webhook",
    "settings": {"url": "https://hooks.example.org/offtake"},
}
CHANNEL: Final[Json] = {
    "id": CHANNEL_ID,
    **STAMP,
    "name": "operations",
    "kind": "webhook",
    "settings": {"url": "https://hooks.example.org/offtake", "secret": "********"},
    "failures": 0,
    "retryAt": None,
    "version": _ETAG,
    "etag": _ETAG,
}
CHANNELS: Final[Json] = examples.page(CHANNEL, "/alertChannels")
CHANGED: Final[Json] = {"id": CHANNEL_ID, "etag": _ETAG}
CREATED: Final[Json] = CHANGED | {"generated": {"secret": "shown once"}}
TESTED: Final[Json] = {"result": True, "answer": "200 OK"}
KINDS: Final[Json] = {
    "kinds": [
        {
            "kind": "webhook",
            "title": "Webhook",
            "description": "Sends a signed CloudEvent to a URL.",
            "settings": [
                {
                    "name": "url",
                    "title": "URL",
                    "description": "The URL that receives the messages by POST.",
                    "required": True,
                    "secret": False,
                }
            ],
        }
    ],
    "topics": [{"name": "failed", "meaning": "a run has failed", "severity": "problem", "default": True}],
}
NEW_RULE: Final[Json] = {"name": "trouble", "channelIds": [CHANNEL_ID], "topics": ["failed", "late", "recovered"]}
RULE: Final[Json] = {
    "id": RULE_ID,
    **STAMP,
    "name": "trouble",
    "flowId": None,
    "topics": ["failed", "late", "recovered"],
    "channelIds": [CHANNEL_ID],
    "enabled": True,
    "single": False,
    "groupSeconds": 30,
    "repeatSeconds": 3600,
    "version": _ETAG,
    "etag": _ETAG,
}
RULES: Final[Json] = examples.page(RULE, "/alertRules")
RULE_CHANGED: Final[Json] = {"id": RULE_ID, "etag": _ETAG}
MESSAGE: Final[Json] = {
    "id": MESSAGE_ID,
    "state": "dead",
    "title": "Destination sftp.partner.example:22 does not answer; 500 flows affected",
    "severity": "problem",
    "channelId": CHANNEL_ID,
    "channelName": "operations",
    "ruleName": "trouble",
    "cause": "destination sftp.partner.example:22",
    "eventCount": 501,
    "attempts": 31,
    "createdAt": 1772343000123,
    "updatedAt": 1772343000123,
    "nextTryAtUTC": None,
    "answer": "hooks.example.org answers 503 Service Unavailable. Correct the URL or the receiver.",
    "events": [
        {
            "id": "01KJM8QF0G3V9YB6X2T4R8N5MC",
            "kind": "run.waiting_long",
            "at": 1772343000123,
            "flowId": _FLOW_ID,
            "flowName": "nightly",
            "code": "EXPORT-2003-504",
            "text": "A run of flow nightly has waited for long: the host did not answer.",
        }
    ],
}
MESSAGES: Final[Json] = examples.page(MESSAGE, "/alertMessages")
