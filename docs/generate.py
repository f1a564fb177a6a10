"""Writes the pages that are made from code: `python docs/generate.py` (`make docs`). A test fails when they differ."""

from collections.abc import Sequence
from pathlib import Path

from offtake.api.errors import GATEWAY
from offtake.flows import problems
from offtake.settings import Settings

ERRORS = """# Errors

Every refusal names the field, what was wrong and what is allowed, and nothing was written. This page is made from the
tables in `offtake.flows.problems` and `offtake.api.errors`.

## Before any service

The body is `{{"error_code": …, "message": …}}`; the status is the code's first three digits.

{gateway}

A body without a usable `Content-Type` is a 400 with the title `BadRequestError`.

## Of the services

`type` ends in `<service>-<number>-<status>`. The services are FLOW (Flow Service and ad-hoc export), CATALOG, INGEST
(batch ingestion), ACCESS (data access), ZONE (landing zone), SMS (sandboxes), ACL (access control) and AUDIT. `detail`,
`report.detailed-message` and `errorMessage` hold the same sentence; `report.errors` has a path and a message for each
field; `report.request-id` is the id of the request in the log. Numbers below 3000 are the contract's own.

{codes}
"""
SETTINGS = """# Settings

Environment variables `OFFTAKE_…`, or the same names without the prefix in lower case in `offtake.toml`. This page is
made from `offtake.settings`.

{settings}
"""


def pages() -> dict[str, str]:
    """Each page's name and text."""
    gateway = _table(("Code", "Message"), [(f"`{code}`", message) for code, message in GATEWAY.items()])
    codes = [(f"{one.number}-{one.status}", one.title, one.when) for one in problems.codes()]
    settings = [
        (f"`OFFTAKE_{name.upper()}`", _default(name), (field.description or "").replace("|", "\\|"))
        for name, field in Settings.model_fields.items()
    ]
    return {
        "errors.md": ERRORS.format(gateway=gateway, codes=_table(("Code", "Title", "When"), codes)),
        "settings.md": SETTINGS.format(settings=_table(("Variable", "Default", "What it does"), settings)),
    }


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None or field.default is None:
        return ""
    value = field.default
    return f"`{', '.join(map(str, sorted(value))) if isinstance(value, frozenset) else value}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    for name, text in pages().items():
        (Path(__file__).parent / name).write_text(text)
