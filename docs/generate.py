"""Writes the pages that are made from code: `python docs/generate.py` (`make docs`). A test fails when they differ."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from offtake.api.errors import GATEWAY
from offtake.contract import problems
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.destinations.registry import DESTINATIONS
from offtake.errors import DELIVERY_CODES
from offtake.settings import Settings

ERRORS = """# Errors

Every refusal names the field, what was wrong and what is allowed, and nothing was written. This page is made from the
tables in `offtake.contract.problems`, `offtake.api.errors` and `offtake.errors`.

## Before any service

The body is `{{"error_code": …, "message": …}}`; the status is the code's first three digits.

{gateway}

A body without a usable `Content-Type` is a 400 with the title `BadRequestError`.

## Of the services

`type` ends in `<service>-<number>-<status>`. The services are FLOW (Flow Service and ad-hoc export), CATALOG, INGEST
(batch ingestion), ACCESS (data access), ZONE (landing zone), SMS (sandboxes), ACL (access control), DATASET (labels of
datasets) and AUDIT. `detail`,
`report.detailed-message` and `errorMessage` hold the same sentence; `report.errors` has a path and a message for each
field; `report.request-id` is the id of the request in the log. Numbers below 3000 are the contract's own.

{codes}

## Of runs

The `errors` and warnings of a run, and the answer to `GET /connections/ID/test`, have these codes. *Retried*: the run
waits and tries again until shortly before the flow's next slot ([reliability](reliability.md)); the others end the run
at once. An error's own text can be more exact about both.

{runs}
"""
SETTINGS = """# Settings

Environment variables `OFFTAKE_…`, or the same names without the prefix in lower case in `offtake.toml`. This page is
made from `offtake.settings`.

{settings}
"""
DESTINATION = """# {name}

{about}

| | |
|---|---|
| Connection spec | `{spec_id}`, version `1.0` |
| Flow spec | `{flow_spec_id}` ({flow_spec_name}) |
| Longest key | {longest} bytes |
| Files encrypted with a public key | {encryption} |
{needs}
## Credentials

{credentials}

## Parameters

Of the target connection:

{parameters}

## Least privilege

{rights}

## Test it

`GET /data/foundation/flowservice/connections/ID/test`, or on the server

    offtake connection test ID

writes a small object where the account's target connections deliver to, reads it back, lists and removes it, and says
which right is missing. With `OFFTAKE_CHECK_CONNECTIONS=true`, connections are tried when they are made, and refused
when they cannot be delivered to. What goes wrong in a run stands in its `errors`: `EXPORT-2001-401` credentials
refused, `EXPORT-2001-403` a right or a setting is wrong, `EXPORT-2002-404` the place does not exist,
`EXPORT-2003-504` unreachable or overloaded (tried again).

## Known limits

{limits}

This page is made from `offtake.destinations`.
"""


def pages() -> dict[str, str]:
    """Each page's name and text."""
    gateway = _table(("Code", "Message"), [(f"`{code}`", message) for code, message in GATEWAY.items()])
    codes = [(f"{one.number}-{one.status}", one.title, one.when) for one in problems.codes()]
    runs = [(f"`{one.code}`", one.meaning, "yes" if one.transient else "no", one.remedy) for one in DELIVERY_CODES]
    settings = [
        (f"`OFFTAKE_{name.upper()}`", _default(name), (field.description or "").replace("|", "\\|"))
        for name, field in Settings.model_fields.items()
    ]
    return {
        "errors.md": ERRORS.format(
            gateway=gateway,
            codes=_table(("Code", "Title", "When"), codes),
            runs=_table(("Code", "Meaning", "Retried", "What to do"), runs),
        ),
        **{f"destinations/{_slug(one)}.md": _destination(one) for one in DESTINATIONS},
        "settings.md": SETTINGS.format(settings=_table(("Variable", "Default", "What it does"), settings)),
    }


def _slug(destination: Destination) -> str:
    return destination.name.lower().replace(" ", "-")


def _destination(destination: Destination) -> str:
    guide, spec = destination.guide, schema.connection_spec(destination)
    drivers = {one.extra for one in (destination.driver,) if one}
    methods = [
        f"### {method['name']}\n\n"
        + (f"Needs `offtake[{declared.driver.extra}]`.\n\n" if declared.driver else "")
        + f"```json\n{_auth(method)}\n```\n\n"
        + _params(method["spec"]["properties"], method["spec"]["required"])
        for method, declared in zip(spec["authSpec"], destination.auth_methods, strict=True)
    ]
    target = spec["targetSpec"]["spec"]
    location = {key: value for key, value in target["properties"].items() if key not in ("fileType", "csvOptions")}
    return DESTINATION.format(
        name=destination.name,
        about=guide.about,
        spec_id=destination.connection_spec_id,
        flow_spec_id=destination.flow_spec_id,
        flow_spec_name=destination.flow_spec_name,
        longest=destination.longest_key,
        encryption="yes" if destination.encryption else "no",
        needs="".join(f"\nNeeds `offtake[{extra}]`.\n" for extra in sorted(drivers)),
        credentials="\n\n".join([AUTH, *methods]) if methods else "None.",
        parameters=_params(location, target["required"]),
        rights=guide.rights,
        limits="\n".join(f"- {limit}" for limit in guide.limits),
    )


AUTH = "A member of the body of `POST /connections`, one of these:"


def _auth(method: dict[str, Any]) -> str:
    """The base connection's `auth`, with the parameters that are required."""
    params = dict.fromkeys(method["spec"]["required"], "…")
    return f'"auth": {json.dumps({"specName": method["name"], "params": params}, ensure_ascii=False)}'


def _params(properties: dict[str, dict[str, str]], required: list[str]) -> str:
    rows = [(f"`{key}`", "yes" if key in required else "", _what(value)) for key, value in properties.items()]
    return _table(("Key", "Required", "What it is"), rows)


def _what(schema_of: dict[str, str]) -> str:
    allowed = schema_of.get("enum")
    secret = " Stored encrypted, shown masked." if schema_of.get("format") == "password" else ""
    text = schema_of["description"].rstrip(".") + "."
    return text.replace("|", "\\|") + (f" One of {', '.join(allowed)}." if allowed else "") + secret


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
        path = Path(__file__).parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
