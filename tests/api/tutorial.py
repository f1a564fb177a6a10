"""The tutorials' bodies (contract, section 13), in the shapes in which they are published.

Ids and secrets are the samples'; what a server makes itself is put in their places.
"""

import base64
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from offtake.destinations.registry import DESTINATIONS
from tests.deployment import LAKE, Deployment

SECRET: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
RSA_KEY: Final = base64.b64encode(
    rsa.generate_private_key(65_537, 2048).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
).decode()

Auth = dict[str, Any] | None
NAMED: Final = {one.name: one for one in DESTINATIONS}
# Every way to sign in that the tutorial shows, and where it has the files go.
CONNECTIONS: Final[list[tuple[str, Auth]]] = [
    ("Amazon S3", {"specName": "Access Key", "params": {"s3SecretKey": SECRET, "s3AccessKey": "AKIAIOSFODNN7EXAMPLE"}}),
    (
        "Amazon S3",
        {"specName": "Assumed Role", "params": {"s3Role": "arn:aws:iam::800873819705:role/destinations-role-customer"}},
    ),
    (
        "Azure Blob Storage",
        {
            "specName": "ConnectionString",
            "params": {"connectionString": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}"},
        },
    ),
    (
        "Azure Data Lake Gen2",
        {
            "specName": "Azure Service Principal Auth",
            "params": {
                "servicePrincipalKey": SECRET,
                "url": "abfss://exports@account.dfs.core.windows.net",
                "tenant": "tenant",
                "servicePrincipalId": "id",
            },
        },
    ),
    ("Data Landing Zone", None),
    (
        "Google Cloud Storage",
        {
            "specName": "Google Cloud Storage authentication credentials",
            "params": {"accessKeyId": "GOOG1EXAMPLE", "secretAccessKey": SECRET},
        },
    ),
    (
        "SFTP",
        {"specName": "SFTP with Password", "params": {"domain": "sftp.example.org", "username": "u", "password": "p"}},
    ),
    (
        "SFTP",
        {"specName": "SFTP with SSH Key", "params": {"domain": "sftp.example.org", "username": "u", "sshKey": RSA_KEY}},
    ),
]
LOCATIONS: Final = {
    "Amazon S3": {"bucketName": "your-bucket-name", "path": "folder/subfolder"},
    "Azure Blob Storage": {"container": "your-container-name", "path": "folder/subfolder"},
    "Azure Data Lake Gen2": {"path": "folder/subfolder"},
    "Data Landing Zone": {"path": "folder/subfolder"},
    "Google Cloud Storage": {"bucketName": "your-bucket-name", "path": "folder/subfolder"},
    "SFTP": {"remotePath": "folder/subfolder"},
}
SCHEDULE: Final = {
    "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
    "interval": 3,
    "timeUnit": "hour",
    "startTime": 1_765_000_800,
    "endTime": 1_780_000_000,
    "foldernameTemplate": "%DESTINATION%_%DATASET_ID%_%DATETIME(YYYYMMdd_HHmmss)%",
}


def connect(deployed: Deployment, name: str, auth: Auth, **params: Any) -> str:
    """A base and a target connection in the tutorial's bodies; the target's id."""
    spec = {"id": NAMED[name].connection_spec_id, "version": "1.0"}
    body = {"name": f"{name} Base Connection", "description": "…", "connectionSpec": spec}
    base = deployed.post("/connections", body | ({} if auth is None else {"auth": auth}))["id"]
    standard = {"mode": "Server-to-server", **LOCATIONS[name], "compression": "NONE", "datasetFileType": "JSON"}
    target = {"name": f"{name} Target Connection", "baseConnectionId": base, "params": standard | params}
    return str(deployed.post("/targetConnections", target | {"connectionSpec": spec})["id"])


def source_of(deployed: Deployment, dataset: str) -> str:
    """A source connection in the tutorial's body; its id."""
    body = {
        "name": "Connecting to Data Lake",
        "description": "Data Lake source connection to export datasets",
        "connectionSpec": {"id": LAKE, "version": "1.0"},
        "params": {"datasets": [{"dataSetId": dataset, "name": "AAM Devices Data"}]},
    }
    return str(deployed.post("/sourceConnections", body)["id"])


def flow_body(name: str, source: str, target: str, schedule: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"Activate datasets to an {name} cloud storage destination",
        "description": f"This operation creates a dataflow to export datasets to an {name} cloud storage destination",
        "flowSpec": {"id": NAMED[name].flow_spec_id, "version": "1.0"},
        "sourceConnectionIds": [source],
        "targetConnectionIds": [target],
        "transformations": [],
        "scheduleParams": schedule,
    }


def zone_flow(deployed: Deployment, dataset: str, schedule: dict[str, Any]) -> str:
    """A flow to the landing zone with that schedule; its id."""
    source, target = source_of(deployed, dataset), connect(deployed, "Data Landing Zone", None)
    return str(deployed.post("/flows", flow_body("Data Landing Zone", source, target, schedule))["id"])
