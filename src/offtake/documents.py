"""The type of JSON documents at the edges: request and response bodies, and documents in the database."""

from typing import Any

Json = dict[str, Any]
"""A JSON object."""
