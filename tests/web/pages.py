"""The addresses of every page, by a name, for tests and pictures."""

from urllib.parse import quote

from tests.web.world import World

S3 = "4fce964d-3f37-408f-9778-e597338a21ee"
SFTP = "36965a81-b1c6-401b-99f8-22508f1e6a26"


def every_page(made: World, *, is_filled: bool = True) -> dict[str, str]:
    """The paths below `/ui/prod`, in the states that the world has; without dataflows, the pages that show nothing."""
    found = {
        "deliveries": "",
        "monitoring": "/monitoring",
        "dataflows": "/flows",
        "dataflows-none": "/flows?q=nothing+has+this",
        "export-start": "/export",
        "export-account": f"/export?destination={S3}",
        "datasets": "/datasets",
        "datasets-none": "/datasets?q=nothing+has+this",
        "dataset-new": "/datasets/new",
        "import": "/datasets/import",
        "components": "/style",
        "destinations": "/destinations",
        "connect-s3": f"/destinations/{S3}/connect",
        "connect-sftp": f"/destinations/{SFTP}/connect",
        "accounts": "/accounts",
        "accounts-none": "/accounts?q=nothing+has+this",
        "catalogs": "/catalogs",
        "catalogs-none": "/catalogs?q=nothing+has+this",
        "catalog-new": "/catalogs/new",
        "catalog-new-rest": "/catalogs/new?type=rest",
        "catalog-new-glue": "/catalogs/new?type=glue",
        "alerts": "/alerts",
        "alerts-none": "/alerts?state=dead",
        "alert-channels": "/alerts/channels",
        "alert-channel-kinds": "/alerts/channels/new",
        "alert-channel-new": "/alerts/channels/new?kind=webhook",
        "alert-channel-new-mail": "/alerts/channels/new?kind=email",
        "alert-rules": "/alerts/rules",
        "alert-rule-new": "/alerts/rules/new",
        "owed": "/owed",
        "usage": "/usage",
        "usage-months": "/usage?by=month",
        "clients": "/access/clients",
        "client-new": "/access/new-client",
        "roles": "/access/roles",
        "role-new": "/access/new-role",
        "sandboxes": "/access/sandboxes",
        "sandbox-new": "/access/new-sandbox",
        "audit": "/access/audit",
    }
    return found | (_filled(made) if is_filled else {})


def _filled(made: World) -> dict[str, str]:
    flow, live = made.flow_ids[0], made.flow_ids[3]
    first, hostile = made.dataset_ids[0], made.dataset_ids[6]
    chosen = f"destination={S3}&account={made.account_ids[0]}&dataset={first}&dataset={hostile}"
    place = "&t-bucketName=acme&t-path=out&t-datasetFileType=PARQUET&t-compression=GZIP&name=New"
    return {
        "monitoring-month": "/monitoring?days=30",
        "dataflows-failed": "/flows?state=failed&sort=name",
        "dataflow": f"/flows/{flow}",
        "dataflow-live": f"/flows/{live}",
        **{f"dataflow-hostile-{number}": f"/flows/{one}" for number, one in enumerate(made.flow_ids[8:11])},
        "dataflow-runs": f"/flows/{flow}/runs",
        "dataflow-settings": f"/flows/{flow}/settings",
        "dataflow-backfill": f"/flows/{flow}/backfill",
        "run": f"/runs/{made.run_id}",
        "run-live": f"/runs/{made.live_run_id}",
        "run-failed": f"/runs/{made.failed_run_id}",
        "export-datasets": f"/export?step=2&{chosen}",
        "export-files": f"/export?step=3&{chosen}",
        "export-schedule": f"/export?step=4&{chosen}{place}",
        "export": f"/export?step=5&{chosen}{place}",
        **_of_dataset("dataset", first),
        **_of_dataset("dataset-hostile", hostile),
        "catalog": f"/catalogs/{made.catalog_ids[0]}",
        "catalog-files": f"/catalogs/{made.catalog_ids[1]}",
        "catalog-hostile": f"/catalogs/{made.catalog_ids[2]}",
        "catalog-change": f"/catalogs/{made.catalog_ids[2]}/change",
        "catalog-namespaces": f"/catalogs/{made.catalog_ids[0]}/tables",
        "catalog-tables": f"/catalogs/{made.catalog_ids[0]}/tables?namespace=sales",
        "catalog-tables-none": f"/catalogs/{made.catalog_ids[0]}/tables?namespace=marketing&q=nothing",
        "catalog-away": f"/catalogs/{made.catalog_ids[2]}/tables?namespace=sales",
        **_of_dataset("dataset-registered", made.registered_ids[0]),
        **_of_dataset("dataset-gone", made.registered_ids[1]),
        "account": f"/accounts/{made.account_ids[0]}",
        "account-hostile": f"/accounts/{made.account_ids[2]}",
        "account-credentials": f"/accounts/{made.account_ids[2]}/credentials",
        "client": f"/access/clients/{quote(made.client_id, safe='')}",
        "role": f"/access/roles/{made.role_id}",
        "sandbox": f"/access/sandboxes/{made.sandbox_name}",
    }


def _of_dataset(name: str, dataset_id: str) -> dict[str, str]:
    path = f"/datasets/{dataset_id}"
    tabs = ("preview", "batches", "snapshots", "exports", "settings")
    return {name: path} | {f"{name}-{tab}": f"{path}/{tab}" for tab in tabs}
