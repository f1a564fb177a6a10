"""Names of catalogs, alert channels and alert rules: what they may consist of, in the API and in documents."""

from typing import Final

_LONGEST: Final = 255
RULE: Final = f"must have 1 to {_LONGEST} printable characters, without / and outer spaces"


def is_plain(name: str) -> bool:
    """Whether a name follows the rule."""
    return bool(name) and name == name.strip() and len(name) <= _LONGEST and "/" not in name and name.isprintable()
