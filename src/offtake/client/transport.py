"""How requests reach a server: over the network, or in the same process."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from offtake.errors import OfftakeError

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
LINES: Final = "application/x-ndjson"
FIRST_ERROR_STATUS: Final = 400

Query = Sequence[tuple[str, str]]
Receive = Callable[[bytes], None]


@dataclass(frozen=True)
class FilePart:
    """A range of a local file as the body of a request."""

    path: Path
    first: int
    size: int


@dataclass(frozen=True)
class Request:
    """One request. `path`: from the server's root, with its special characters quoted."""

    method: str
    path: str
    query: Query = ()
    content: bytes | FilePart | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A server's answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_error(self) -> bool:
        """Whether the request failed."""
        return self.status >= FIRST_ERROR_STATUS

    def json(self) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """The parsed body. Raises `NotAContractServerError`."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise NotAContractServerError from None


class NotAContractServerError(OfftakeError):
    """The address answers, but not as a server of the contract."""

    def __init__(self) -> None:
        super().__init__("The server does not answer as one of the Flow Service contract does. Check its URL.")


class Transport(Protocol):
    """Sends requests with the caller's identity; raises `OfftakeError` when the server cannot be reached."""

    @property
    def server(self) -> str:
        """The server, for messages: its URL or its data directory."""
        ...

    def now(self) -> float:
        """The server's time, epoch seconds."""
        ...

    def send(self, request: Request, receive: Receive | None = None) -> Answer:
        """Send one request and return the answer, whatever its status.

        `receive` gets the body's pieces as they arrive, unless the status is one of an error; the answer's content is
        then empty.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
