"""Values as JSON, to compare those of different readers."""

import datetime
import decimal
import math
import uuid
from typing import Any


def plain(value: Any) -> Any:  # noqa: PLR0911 - one line a type
    """A value as JSON, such that different values differ."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return sorted(([plain(key), plain(one)] for key, one in value), key=repr)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return f"{value:f}" if isinstance(value, decimal.Decimal) else str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        utc = value.astimezone(datetime.UTC) if value.tzinfo else value
        return utc.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat(timespec="microseconds")
    return value
