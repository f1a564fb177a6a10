"""Patterns of the contract (section 8): published unchanged, checked in linear time."""

import re
from collections.abc import Callable
from typing import Final

from pydantic import AfterValidator

_LONGEST_PATH: Final = 1024
_BUCKET: Final = re.compile(r"(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])(?:\.(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]))*")
_OBJECT_PATH: Final = re.compile(r"[0-9a-zA-Z/!\-_.*'()]*(?:%SEGMENT_(?:NAME|ID)%/*)*")
_ADDRESS: Final = re.compile(r"(?:\d+\.)+\d+")
_CONTAINER: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_BLOB_PATH: Final = re.compile(r"[0-9a-zA-Z/!\-_.*'()]+")
_GOOGLE_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9\-_]{0,61}[a-z0-9])?")

PUBLISHED_BUCKET: Final = (
    r"(?=^.{3,63}$)(?!^(\d+\.)+\d+$)"
    r"(^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])$)"
)
PUBLISHED_OBJECT_PATH: Final = r"^[0-9a-zA-Z/\!\-_\.\*\''\(\)]*((\%SEGMENT_(NAME|ID)\%)?/?)+$"
PUBLISHED_CONTAINER: Final = r"^[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]$"
PUBLISHED_BLOB_PATH: Final = r"^[0-9a-zA-Z/\!\-_\.\*\'\(\)]+$"
PUBLISHED_GOOGLE_BUCKET: Final = (
    r"(?!^goog.*$)(?!^.*g(o|0)(o|0)gle.*$)(((?=^.{3,63}$)(^([a-z0-9]|[a-z0-9][a-z0-9\-_]*)[a-z0-9]$))"
    r"|((?=^.{3,222}$)(?!^(\d+\.)+\d+$)(^(([a-z0-9]{1,63}|[a-z0-9][a-z0-9\-_]{1,61}[a-z0-9])\.)*"
    r"([a-z0-9]{1,63}|[a-z0-9][a-z0-9\-_]{1,61}[a-z0-9])$)))"
)


def matches(check: Callable[[str], str | None]) -> AfterValidator:
    """A validator from a check, which returns what is allowed, or None when the text is valid."""

    def validate(text: str) -> str:
        problem = check(text)
        if problem:
            raise ValueError(problem)
        return text

    return AfterValidator(validate)


def bucket_problem(text: str) -> str | None:
    """Check a bucket name against Amazon's rules."""
    if 3 <= len(text) <= 63 and _BUCKET.fullmatch(text) and not _ADDRESS.fullmatch(text):  # noqa: PLR2004 - S3's limits
        return None
    return "must be 3 to 63 lower-case letters, digits, hyphens and dots, and not an IP address"


def google_bucket_problem(text: str) -> str | None:
    """Check a bucket name against Google's rules."""
    labels = text.split(".")
    google = text.startswith("goog") or re.search(r"g[o0][o0]gle", text)
    fits = 3 <= len(text) <= (63 if len(labels) == 1 else 222)  # noqa: PLR2004 - Google's limits
    if fits and not google and not _ADDRESS.fullmatch(text) and all(_GOOGLE_LABEL.fullmatch(one) for one in labels):
        return None
    return "must be 3 to 63 lower-case letters, digits, hyphens and underscores, without the word google"


def container_problem(text: str) -> str | None:
    """Check a container name against Azure's rules."""
    if _CONTAINER.fullmatch(text) and "--" not in text:
        return None
    return "must be 3 to 63 lower-case letters, digits and single hyphens, starting and ending with a letter or digit"


def object_path_problem(text: str) -> str | None:
    """Check a bucket folder against the contract's characters; linear; the published pattern backtracks."""
    if _OBJECT_PATH.fullmatch(text):
        return folder_problem(text)
    return "may contain only letters, digits and / ! - _ . * ' ( )"


def blob_path_problem(text: str) -> str | None:
    """Check a container folder against the contract's characters."""
    if _BLOB_PATH.fullmatch(text):
        return folder_problem(text)
    return "must be one or more letters, digits and / ! - _ . * ' ( )"


def folder_problem(text: str) -> str | None:
    """Check a folder for what no destination allows: leaving its root, unprintable characters, excessive length."""
    if len(text) > _LONGEST_PATH:
        return f"must not be longer than {_LONGEST_PATH} characters"
    if not text.isprintable() or "\\" in text:
        return "must not contain control characters or backslashes"
    segments = text.split("/")
    if any(segment in (".", "..") for segment in segments):
        return "must not contain the segments . or .."
    if re.match(r"[A-Za-z]:", text):
        return "must not start with a drive letter"
    return None
