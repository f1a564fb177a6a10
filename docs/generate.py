"""Generates pages of docs from code: `python docs/generate.py` (`make docs`). A test fails if they are outdated."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from offtake.api.errors import GATEWAY, GATEWAY_REMEDIES
from offtake.cli.json_output import JSON_OUTPUT, OfApi, Own
from offtake.contract import problems
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.destinations.registry import DESTINATIONS
from offtake.errors import DELIVERY_CODES
from offtake.settings import Settings
from offtake.store.event_kinds import CONTEXT, FIELDS, KINDS
from offtake.telemetry.definitions import METRICS

ERRORS = """# Errors: what you see, what it means, what to do

Every error says what happened, to which resource, and what to do. This page is generated from `offtake.errors`,
`offtake.contract.problems` and `offtake.api.errors`.

## Runs

`offtake status` and `offtake run show ID` show these codes, the API in the `errors` and warnings of a run and in the
response to `GET /connections/ID/test`. *Retried*: the run waits and is retried until shortly before the flow's next
slot ([reliability](reliability.md)); other errors fail the run immediately. The text of an error may be more specific
about both. After a failure, the flow's next run delivers everything since the last delivery: no position is lost.

{runs}

## Without a code

{symptoms}

## Requests: services

`type` ends in `<service>-<number>-<status>`. The services are FLOW (Flow Service and ad-hoc export), CATALOG, INGEST
(batch ingestion), ACCESS (data access), ZONE (landing zone), SMS (sandboxes), ACL (access control), DATASET (labels of
datasets) and AUDIT. `detail`, `report.detailed-message` and `errorMessage` contain the same message; `report.errors`
has a path and a message for each field; `report.request-id` is the request's id in the log. Numbers below 3000 are
defined by the contract. Nothing was written. *Retry*: whether the same request can succeed later.

{codes}

## Requests: authentication

The body is `{{"error_code": …, "message": …}}`; the status is the first three digits of the code. None of them can be
retried unchanged.

{gateway}

A body without a supported `Content-Type` is a 400 with the title `BadRequestError`.
"""
SYMPTOMS = (
    (
        "A run stays `waiting`, without a reason to wait",
        "no worker runs, or all are busy",
        "yes",
        "Start workers: `offtake worker`. Check their `/readyz`.",
    ),
    (
        "A run is `waiting` with a reason",
        "its destination or source did not answer",
        "yes, until the time that `offtake status` shows",
        "Repair the cause, and check it: `offtake connection test ID`.",
    ),
    (
        "A run is `processing`, but its worker is dead",
        "its lease has not expired yet (`OFFTAKE_LEASE_SECONDS`)",
        "yes, by another worker",
        "Nothing.",
    ),
    (
        "A flow has no new run at its time",
        "it is disabled, has ended, or no server runs",
        "",
        "`offtake flow show NAME`; then `offtake flow resume NAME`. The next run covers what was missed.",
    ),
    ("A run delivers nothing", "there is no new snapshot, or only compactions and deletes", "", "Nothing."),
    (
        "`/readyz` responds 503",
        "its `reasons` name what is unusable",
        "yes, by load balancers",
        "See [health checks](operating.md#health-checks).",
    ),
    (
        "A command or a server ends with one line",
        "the settings, the data directory or the database do not fit",
        "no",
        "Do what the line names; see [the second day](second-day.md) for upgrades and moves.",
    ),
)
"""What has no code: the columns of the tables of errors."""
SETTINGS = """# Settings

Environment variables `OFFTAKE_…`, or the same names without the prefix in lower case in `offtake.toml`. This page is
generated from `offtake.settings`.

{settings}
"""
LOGGING = """# The log

Offtake logs to standard error, one line per event. `OFFTAKE_LOG_FORMAT` sets the format, `text` or `json`;
`OFFTAKE_LOG_LEVEL` sets the least severe level. This page is generated from `offtake.store.event_kinds`.

* **Text**: time (UTC), level, request id or `-`, logger, then the event's name with its fields as `name=value`. Lines
  that are not events have a message instead. A traceback follows its line, indented.
* **JSON**: one object per line with `timestamp` (ISO 8601, UTC), `level`, and `event` with its fields, or `logger` and
  `message`; `request` if a request caused it, `exception` for a traceback. Lines of API requests have `method`, `path`,
  `status` and `seconds`.

A name or message never makes a second line: characters that are not printable are escaped. No line has a secret. A run
keeps the id of the request that started it: the lines of its worker have it too.

Repeated trouble is counted: a run that waits again for the same cause has a line once per hour, with the number of
waits in between; runs that wait for a destination which another run probes have none. Background work that fails and is
tried again, such as while the database is away, has a line per minute and kind. Requests for health and views of pages
are at level `debug`. A server with 20 flows that run every hour writes about 40 lines per hour.

Events, except those of parts, are also stored for `OFFTAKE_EVENT_DAYS`; those that alerts have not handled, because no
server ran, for 90 days more. The process in which an event happens logs it; commands that work without a server store
events and log nothing. So runs are in the logs of the workers, late flows and
alerts in those of the servers. A process that cannot start says so in one line of text, in both formats.

## Questions

What was delivered in the last hour, and which runs failed and why. From files of JSON (`fromjson?` skips other lines):

    jq -rR --arg since "$(date -u -d '1 hour ago' +%FT%TZ)" 'fromjson? | select(.event == "run.delivered" and
      .timestamp > $since) | [.timestamp, .flow, .rows, .bytes] | @tsv' server.log worker.log
    jq -rR 'fromjson? | select(.event == "run.failed") |
      [.timestamp, .flow, .run, .code, .message] | @tsv' server.log worker.log

From the journal, with `OFFTAKE_LOG_FORMAT=text`:

    journalctl -u 'offtake*' --output cat --since -1h | grep ' run.delivered '
    journalctl -u 'offtake*' --output cat --since today | grep ' run.failed '

Without the log: `offtake run list --since 1h` and `offtake status`.

## Late flows

A flow is late when its data is older than its freshness target, which `offtake flow edit NAME --fresh-within 4h` sets
(`none` removes it; `extensions.freshWithinSeconds` in the API, `freshWithin` in [files](as-code.md)). Without a target,
it is late when a slot is not delivered after a tenth of the interval, at least five minutes. A run that finds nothing
new counts as a delivery. The scheduler judges this twice a minute, also when no worker runs: `flow.late` is reported
once with the reason, `flow.recovered` when the flow has delivered again. The lateness of a flow that is disabled or
ends is over without an event. When the clock was set, nothing is judged for five minutes, in which due runs are
delivered.

The `reason` is `waiting` (for its destination or source), `queued` (no worker has started the run), `running`,
`failed`, `not_started` (no scheduler runs) or `schedule` (the flow runs less often than its target).

## Events

{kinds}

## Fields

Every event has these fields if they apply. Text leaves out the ids of the sandbox and of the connection, and the flow's
id in lines about a run.

{context}

Fields of single events:

{fields}

## A day

Three flows: *orders* every three hours, *clicks* every six hours to a partner whose server is down from 05:00 to 10:00,
with a target of seven hours, and *prices*, whose dataset was deleted. At 16:00, a request starts a run. From 18:00 to
18:30, no worker runs. Sizes and ids are replaced.

```
{day}```
"""
METRICS_PAGE = """# Metrics

What `/metrics` shows. [Monitoring](monitoring.md) says where it is, how to read it, and what labels mean. This page is
generated from `offtake.telemetry.definitions`.

## What a process counts

{process}

On Linux, there are also the usual `process_…`: processor time, memory, open files and the start of the process. They
are of the process itself, without its children, which write files and parse imports.

## The state of the deployment

{deployment}
"""
DECLARATIONS = "../src/offtake/client/destinations.json"
"""The declarations that the command line's options are made from; they import no destination's library."""
WORDS = {
    "Amazon S3": "s3",
    "Azure Blob Storage": "azure-blob",
    "Azure Data Lake Gen2": "adls",
    "Data Landing Zone": "landing-zone",
    "Google Cloud Storage": "gcs",
    "SFTP": "sftp",
}
"""The destinations' names in commands."""
CLI_JSON = """# What commands print with `--json`

Documents of the API are described, with their types, in the server's `/openapi.json`; those of other commands look like
the example. A member that has no value is null or missing, and later versions may add members. Lists are arrays of all
pages. `flow run`, `flow backfill` and `run retry` with `--wait` print what `run watch` prints. This page is generated
from `offtake.cli.json_output`.

{commands}
"""
DESTINATION = """# {name}

{about}

| | |
|---|---|
| Connection spec | `{spec_id}`, version `1.0` |
| Flow spec | `{flow_spec_id}` ({flow_spec_name}) |
| Longest key | {longest} bytes |
| Encryption with a public key | {encryption} |
{needs}
## Credentials

{credentials}

## Parameters

In the target connection's `params`:

{parameters}

## Least privilege

{rights}

## Test it

`GET /data/foundation/flowservice/connections/ID/test`, or on the server

    offtake connection test ID

writes a small object where the account's target connections deliver to, reads it back, lists and deletes it, and names
a missing permission. With `OFFTAKE_CHECK_CONNECTIONS=true`, connections are also tested when they are created, and
refused if the test fails. Errors of a run are in its `errors`: `EXPORT-2001-401` credentials refused,
`EXPORT-2001-403` a permission is missing or a setting is wrong, `EXPORT-2002-404` the bucket, container or folder does
not exist, `EXPORT-2003-504` unreachable or overloaded (retried).

## Known limits

{limits}

This page is generated from `offtake.destinations`.
"""


def pages() -> dict[str, str]:
    """The name and text of each page."""
    gateway = _table(
        ("What you see", "What to do"),
        [(f"`{code}` {message}", GATEWAY_REMEDIES[code]) for code, message in GATEWAY.items()],
    )
    codes = [
        (f"{one.number}-{one.status} {one.title}", one.when, "yes" if one.retry else "no", one.remedy)
        for one in problems.codes()
    ]
    runs = [(f"`{one.code}`", one.meaning, "yes" if one.transient else "no", one.remedy) for one in DELIVERY_CODES]
    settings = [
        (f"`OFFTAKE_{name.upper()}`", _default(name), (field.description or "").replace("|", "\\|"))
        for name, field in Settings.model_fields.items()
    ]
    return {
        "errors.md": ERRORS.format(
            gateway=gateway,
            symptoms=_table(("What you see", "What it means", "Retried", "What to do"), SYMPTOMS),
            codes=_table(("What you see", "What it means", "Retry", "What to do"), codes),
            runs=_table(("What you see", "What it means", "Retried", "What to do"), runs),
        ),
        **{f"destinations/{_slug(one)}.md": _destination(one) for one in DESTINATIONS},
        "cli-json.md": CLI_JSON.format(
            commands=_table(
                ("Command", "Prints"), [(f"`{words}`", _printed(one)) for words, one in JSON_OUTPUT.items()]
            )
        ),
        "logging.md": LOGGING.format(
            kinds=_table(
                ("Event", "Level", "Meaning", "Fields"),
                [
                    (f"`{name}`", kind.level, kind.meaning, ", ".join(f"`{one}`" for one in kind.fields))
                    for name, kind in KINDS.items()
                ],
            ),
            context=_table(("Field", "Meaning"), [(f"`{name}`", text) for name, text in CONTEXT.items()]),
            fields=_table(("Field", "Meaning"), [(f"`{name}`", text) for name, text in FIELDS.items()]),
            day=(Path(__file__).parent / "log-of-a-day.txt").read_text(),
        ),
        "metrics.md": METRICS_PAGE.format(process=_metrics("process"), deployment=_metrics("deployment")),
        "settings.md": SETTINGS.format(settings=_table(("Variable", "Default", "Meaning"), settings)),
        DECLARATIONS: json.dumps([_declaration(one) for one in DESTINATIONS], indent=1, ensure_ascii=False) + "\n",
    }


def _metrics(scope: str) -> str:
    """The table of the metrics of a process, or of the deployment."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for one in METRICS
        if one.scope == scope
    ]
    return _table(("Metric", "Type", "Labels", "Meaning"), rows)


def _declaration(destination: Destination) -> dict[str, Any]:
    """What the command line knows of a destination, without importing it."""
    spec = schema.connection_spec(destination)
    target = spec["targetSpec"]["spec"]
    params = {key: value for key, value in target["properties"].items() if key not in ("fileType", "csvOptions")}
    return {
        "word": WORDS[destination.name],
        "name": destination.name,
        "connectionSpecId": destination.connection_spec_id,
        "flowSpecId": destination.flow_spec_id,
        "authMethods": [
            {
                "name": method.name,
                "word": method.title.lower().replace(" ", "-"),
                "about": method.about,
                "fields": _fields(declared["spec"], method.model.pinned),
            }
            for method, declared in zip(destination.auth_methods, spec["authSpec"], strict=True)
        ],
        "targetFields": _fields({"properties": params, "required": target["required"]}),
    }


def _fields(declared: dict[str, Any], pinned: Collection[str] = ()) -> list[dict[str, Any]]:
    """The params of a spec; what is false is left out."""
    keys_pinned = {to_camel(name) for name in pinned}
    fields = [
        {
            "key": key,
            "help": value["description"],
            "type": value["type"],
            "choices": value.get("enum", []),
            "required": key in declared["required"],
            "secret": value.get("format") == "password",
            "base64": value.get("contentEncoding") == "base64",
            "pinned": key in keys_pinned,
        }
        for key, value in declared["properties"].items()
    ]
    return [{name: value for name, value in field.items() if value} for field in fields]


def _printed(output: OfApi | Own) -> str:
    if isinstance(output, Own):
        many = "each line: " if output.each_line else ""
        return f"{many}`{json.dumps(output.example, ensure_ascii=False)}`"
    forms = {
        "document": "the answer of",
        "item": "the entity of",
        "items": "an array of the entities of",
        "value": "a value, with its `id`, of",
        "values": "an array of the values, each with its `id`, of",
    }
    return f"{forms[output.form]} `{output.operation}`"


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


AUTH = "The member `auth` of the body of `POST /connections`, one of:"


def _auth(method: dict[str, Any]) -> str:
    """The base connection's `auth` with its required parameters."""
    params = dict.fromkeys(method["spec"]["required"], "…")
    return f'"auth": {json.dumps({"specName": method["name"], "params": params}, ensure_ascii=False)}'


def _params(properties: dict[str, dict[str, Any]], required: list[str]) -> str:
    rows = [(f"`{key}`", "yes" if key in required else "", _what(value)) for key, value in properties.items()]
    return _table(("Key", "Required", "Meaning"), rows)


def _what(schema_of: dict[str, Any]) -> str:
    allowed = schema_of.get("enum")
    secret = " Stored encrypted, shown masked." if schema_of.get("format") == "password" else ""
    extension = " *An extension.*" if schema_of.get("x-extension") else ""
    text: str = schema_of["description"].rstrip(".") + "."
    return text.replace("|", "\\|") + (f" One of {', '.join(allowed)}." if allowed else "") + secret + extension


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
