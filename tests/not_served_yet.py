"""What the contract has and Offtake does not serve yet: tests of it are there, and must fail until it does."""

from typing import Final

import pytest

NOT_SERVED_YET: Final = [
    "landing zone",
    "catalog",
    "ingestion",
    "data access",
    "sandboxes",
    "access control",
]


def of(group: str) -> pytest.MarkDecorator:
    """The mark of a test of that group."""
    return pytest.mark.xfail(group in NOT_SERVED_YET, strict=True, reason=f"the {group} is not served yet")
