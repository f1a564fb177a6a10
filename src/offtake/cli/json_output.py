"""What each command prints with `--json`: a document of the API, or one of the command line. For docs and tests."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Form = Literal["document", "item", "items", "value", "values"]


@dataclass(frozen=True)
class OfApi:
    """A document of the API's operation, such as `GET /data/…`.

    `item`: the only entity of its list; `items`: an array of the entities of all pages, in the list's member `member`;
    `values`: an array of the values of an object, each with its `id`; `value`: one of them.
    """

    operation: str
    form: Form = "document"
    member: str = "items"


@dataclass(frozen=True)
class Own:
    """A document like the example; an array of these if the example is an array."""

    example: Any
    each_line: bool = False


_FLOWS: Final = "/data/foundation/flowservice"
_CATALOG: Final = "/data/foundation/catalog"
_ACCESS: Final = "/data/foundation/access-control/administration"
_SANDBOXES: Final = "/data/foundation/sandbox-management/sandboxes"
_ID: Final = "9f5ab5a2-7d5e-4c83-a7ce-33efbd55fd0f"
_ROLE: Final = OfApi(f"GET {_ACCESS}/roles/{{role_id}}")
_SANDBOX: Final = OfApi(f"GET {_SANDBOXES}/{{name}}")
_SECRET: Final = Own({"org_id": "…@AdobeOrg", "client_id": "…", "client_secret": "p8e-…"})
_PROFILE: Final = Own({"name": "production"})
_BACKUP: Final = {
    "format": 1, "offtake": "0.2.0", "revision": "0026", "takenAt": 1772366400000, "warehouse": "/srv/offtake/lake",
    "rows": True, "keys": True, "tables": 1, "files": 12, "bytes": 855202780, "landing_zone": None, "uploads": None,
}  # fmt: skip
_PROGRESS: Final = {
    "id": _ID, "status": "processing", "parts": 12, "parts_done": 4, "rows": 2097152, "rows_planned": 7823447,
    "bytes": 103480901, "rate": 25870225.0, "error": None, "waiting": None,
}  # fmt: skip
_LAKE_CATALOG: Final = OfApi(f"GET {_CATALOG}/lakeCatalogs/{{catalog_id}}", "item")
_CHANNEL: Final = OfApi(f"GET {_FLOWS}/alertChannels/{{channel_id}}", "item")
_RULE: Final = OfApi(f"GET {_FLOWS}/alertRules/{{rule_id}}", "item")
_EVOLVES: Final = Own({"id": "65f0c2a1b4d3e2f1a0b9c8d7", "name": "events", "evolves": False})

_FLOW: Final = OfApi(f"GET {_FLOWS}/flows/{{flow_id}}", "item")
_CREATED: Final = Own({"id": _ID, "name": "partner", "tested": {"result": True}})
_PLAN: Final = Own(
    {
        "changes": [
            {
                "kind": "flow",
                "name": "nightly",
                "id": _ID,
                "action": "change",
                "fields": [{"field": "every", "old": "3h", "new": "6h"}],
                "positionLost": False,
                "notes": ["…"],
            }
        ],
        "notes": ["…"],
    }
)

JSON_OUTPUT: Final[dict[str, OfApi | Own]] = {
    "init": Own({"dataDir": "offtake-data", "created": True}),
    "copy": Own(
        {
            "destination": "s3://partner/daily",
            "runId": _ID,
            "files": [{"path": "daily/part-….json.gz", "rows": 2, "bytes": 69, "sha256": "e98df6…"}],
        }
    ),
    "status": OfApi(f"GET {_FLOWS}/overview"),
    "usage": OfApi(f"GET {_FLOWS}/usage"),
    "apply": _PLAN,
    "diff": _PLAN,
    "export": Own([{"kind": "flow", "name": "nightly"}]),
    "backup": Own({"file": "offtake.tar", **_BACKUP}),
    "restore": Own({"backup": _BACKUP, "flows": 3, "disabled": 0, "liveRuns": 1}),
    "migrate": Own(
        {
            "from": "offtake-data/offtake.db",
            "to": "postgresql+psycopg://offtake@db.example.org/offtake",
            "rows": 5312,
            "positions": 4,
            "liveRuns": 0,
            "catalogTables": 3,
        }
    ),
    "dataset import": Own(
        {
            "id": "65f0c2a1b4d3e2f1a0b9c8d7",
            "name": "events",
            "created": True,
            "batch": {"id": "01KJM8QF0G3V9…", "rows": 2, "bytes": 1034, "notes": ["…"]},
        }
    ),
    "dataset list": OfApi(f"GET {_CATALOG}/dataSets", "values"),
    "dataset show": OfApi(f"GET {_CATALOG}/dataSets/{{dataset_id}}/table"),
    "dataset maintain": Own([{"dataset": "events", "merged": 20, "into": 2, "expired": 3, "removed": 21}]),
    "dataset preview": Own({"id": 1, "city": "Bern"}, each_line=True),
    "dataset create": _EVOLVES,
    "dataset update": _EVOLVES,
    "dataset delete": Own({"id": "65f0c2a1b4d3e2f1a0b9c8d7", "name": "events", "deleted": True}),
    "dataset register": Own(
        {"id": "65f0c2a1b4d3e2f1a0b9c8d7", "name": "orders", "catalog": "lakehouse", "table": "sales.orders"}
    ),
    "dataset label": Own({"id": "65f0c2a1b4d3e2f1a0b9c8d7", "labels": ["core/C1"]}),
    "catalog add": _LAKE_CATALOG,
    "catalog list": OfApi(f"GET {_CATALOG}/lakeCatalogs", "items"),
    "catalog show": _LAKE_CATALOG,
    "catalog test": OfApi(f"GET {_CATALOG}/lakeCatalogs/{{catalog_id}}/test"),
    "catalog update": _LAKE_CATALOG,
    "catalog remove": Own({"id": _ID, "name": "lakehouse"}),
    "catalog sync": Own({"sales": {"appeared": ["sales.orders"], "gone": []}}),
    "alert channel create": _CHANNEL,
    "alert channel list": OfApi(f"GET {_FLOWS}/alertChannels", "items"),
    "alert channel show": _CHANNEL,
    "alert channel edit": _CHANNEL,
    "alert channel test": OfApi(f"POST {_FLOWS}/alertChannels/{{channel_id}}/action"),
    "alert channel delete": Own({"id": _ID, "name": "ops", "deleted": True}),
    "alert rule create": _RULE,
    "alert rule list": OfApi(f"GET {_FLOWS}/alertRules", "items"),
    "alert rule edit": _RULE,
    "alert rule delete": Own({"id": _ID, "name": "trouble", "deleted": True}),
    "alert list": OfApi(f"GET {_FLOWS}/alertMessages", "items"),
    "alert retry": Own({"id": "01KJM8QF0G3V9…"}),
    "batch list": OfApi(f"GET {_CATALOG}/batches", "values"),
    "batch show": OfApi(f"GET {_CATALOG}/batches", "value"),
    "batch revert": Own({"id": "01KJM8QF0G3V9…", "status": "inactive", "dataset": "65f0c2a1b4d3e2f1a0b9c8d7"}),
    "connection list": OfApi(f"GET {_FLOWS}/connections", "items"),
    **{f"connection create {word}": _CREATED for word in ("sftp", "s3", "azure-blob", "adls", "gcs", "landing-zone")},
    "connection show": OfApi(f"GET {_FLOWS}/connections/{{row_id}}", "item"),
    "connection edit": Own({"id": _ID, "name": "partner", "changed": ["/name"]}),
    "connection delete": Own({"id": _ID, "name": "partner", "deleted": True}),
    "connection test": OfApi(f"GET {_FLOWS}/connections/{{row_id}}/test"),
    "flow list": OfApi(f"GET {_FLOWS}/flows", "items"),
    "flow show": _FLOW,
    "flow create": _FLOW,
    "flow edit": _FLOW,
    "flow pause": _FLOW,
    "flow resume": _FLOW,
    "flow delete": Own({"id": _ID, "name": "nightly", "deleted": True, "kept": [f"sourceConnections/{_ID}"]}),
    "flow preview": OfApi(f"GET {_FLOWS}/flows/{{flow_id}}/preview"),
    "flow run": OfApi(f"POST {_FLOWS}/flows/{{flow_id}}/run"),
    "flow backfill": Own(
        {
            "id": _ID,
            "flowId": _ID,
            "status": "waiting",
            "folder": "backfill-20260301T060000Z-9f5ab5a2",
            "pins": {"65f0c2a1b4d3e2f1a0b9c8d7": {"full": True, "from_snapshot": None, "to_snapshot": 517209}},
        }
    ),
    "flow verify": OfApi(f"GET {_FLOWS}/flows/{{flow_id}}/verification"),
    "run list": OfApi(f"GET {_FLOWS}/runs", "items"),
    "run show": OfApi(f"GET {_FLOWS}/runs/{{run_id}}", "item"),
    "run watch": Own(_PROGRESS, each_line=True),
    "run manifest": OfApi(f"GET {_FLOWS}/runs/{{run_id}}/manifest"),
    "run verify": OfApi(f"GET {_FLOWS}/runs/{{run_id}}/verification"),
    "run cancel": Own({"id": _ID, "flowId": _ID, "status": "failed", "files": ["exports/…"]}),
    "run retry": Own({"id": _ID, "flowId": _ID, "status": "waiting", "parentRunId": _ID}),
    "sandbox create": _SANDBOX,
    "sandbox list": OfApi(f"GET {_SANDBOXES}", "items", "sandboxes"),
    "sandbox reset": _SANDBOX,
    "sandbox delete": _SANDBOX,
    "quota set": OfApi(f"PUT {_FLOWS}/quotas/{{measure}}"),
    "quota list": OfApi(f"GET {_FLOWS}/quotas"),
    "quota remove": OfApi(f"DELETE {_FLOWS}/quotas/{{measure}}"),
    "client create": _SECRET,
    "client list": OfApi(f"GET {_ACCESS}/clients", "items"),
    "client rotate": Own({"client_id": "…", "client_secret": "p8e-…"}),
    "client revoke": Own({"client_id": "…", "revoked": True}),
    "role create": _ROLE,
    "role list": OfApi(f"GET {_ACCESS}/roles", "items"),
    "role show": _ROLE,
    "role update": _ROLE,
    "role grant": Own({"role": "exporters", "client": "…"}),
    "role revoke": Own({"role": "exporters", "client": "…"}),
    "role delete": Own({"role": "exporters", "deleted": True}),
    "profile add": _PROFILE,
    "profile list": Own([{"name": "production", "server": "https://offtake.example.org", "default": True}]),
    "profile show": Own({"name": "production", "server": "https://offtake.example.org"}),
    "profile use": _PROFILE,
    "profile remove": _PROFILE,
    "audit list": OfApi("GET /data/foundation/audit/events", "items", "_embedded.events"),
    "vault rotate": Own({"moved": 3}),
}
"""By the words of the command. `flow run --wait` and `flow backfill --wait` print what `run watch` prints."""
