"""Errors of runs for tests that need one."""

from offtake.documents import InfoItem


def failure(code: str = "EXPORT-1500-500") -> InfoItem:
    """An error with this code."""
    return {"code": code, "message": "It failed.", "type": "Error"}
