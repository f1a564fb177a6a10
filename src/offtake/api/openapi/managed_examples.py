"""Invented examples of tags and comparisons of resources that are declared in files."""

from typing import Final

from offtake.api.openapi.examples import FLOW_ID
from offtake.documents import Json

_CONNECTION_ID: Final = "4f2d0b7e-6d0f-4d54-9a3c-0b6f3a1e7c55"
_RESOURCE: Final[Json] = {"kind": "flow", "id": FLOW_ID}
TAGS: Final[Json] = {"items": [_RESOURCE | {"set": "team-a"}], "_links": {}, "total": 1}
RESOURCES: Final[Json] = {"resources": [_RESOURCE]}
TAGGED: Final[Json] = {"set": "team-a", "changed": 1}
COMPARISON: Final[Json] = {
    "key": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "resources": [
        {"kind": "connection", "id": _CONNECTION_ID, "secrets": {"password": "5f70bf18a086007016e948b04aed3b82"}}
    ],
}
COMPARED: Final[Json] = {"resources": [{"kind": "connection", "id": _CONNECTION_ID, "changed": ["password"]}]}
