"""Encryption of files: every published spelling is stored as one; nothing is delivered unencrypted (section 9)."""

import base64
from typing import Any

import pytest

from tests.deployment import ZONE, Deployment, flow_body, rows, source_body, target_body

ARMORED = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF\n-----END PGP PUBLIC KEY BLOCK-----\n"
KEY = base64.b64encode(ARMORED.encode()).decode()
STORED = {"specName": "File Encryption", "params": {"encryptionAlgo": "PGP/GPG", "publicKey": KEY}}
SPEC = {"id": ZONE, "version": "1.0"}


def said(name: str, algorithm: str, key: str = KEY) -> dict[str, Any]:
    return {"specName": name, "params": {"encryptionAlgo": algorithm, "publicKey": key}}


def make(deployed: Deployment, status: int = 201, **encryption: Any) -> Any:
    return deployed.post("/connections", {"name": "zone", "connectionSpec": SPEC, **encryption}, status)


@pytest.mark.parametrize(
    "sent",
    [
        {"encryption": said("File Encryption", "PGP/GPG")},
        {"encryptionSpecs": said("Encryption spec", "PGPGPG")},
        {"encryptionSpecs": [said("File PGP/GPG Encryption", "pgpgpg")]},
    ],
)
def test_every_published_spelling_is_stored_as_one(deployed: Deployment, sent: Any) -> None:
    base = make(deployed, **sent)["id"]
    assert deployed.get(f"/connections/{base}")["items"][0]["encryption"] == STORED


def test_none_is_no_encryption(deployed: Deployment) -> None:
    base = f"/connections/{make(deployed, encryption=said('File Encryption', 'NONE'))['id']}"
    assert "encryption" not in deployed.get(base)["items"][0]
    deployed.patch(base, [{"op": "add", "path": "/encryption", "value": STORED}])
    assert deployed.get(base)["items"][0]["encryption"] == STORED
    deployed.patch(base, [{"op": "remove", "path": "/encryption"}])
    assert "encryption" not in deployed.get(base)["items"][0]


@pytest.mark.parametrize(
    "encryption",
    [
        "x",
        said("Another", "PGPGPG"),
        said("File Encryption", "AES"),
        said("File Encryption", "PGPGPG", "not base64!"),
        said("File Encryption", "PGPGPG", base64.b64encode(b"no key").decode()),
        [said("File Encryption", "PGPGPG")] * 2,
    ],
)
def test_what_is_no_encryption_is_refused(deployed: Deployment, encryption: Any) -> None:
    assert make(deployed, 400, encryption=encryption)["report"]["errors"][0]["path"].startswith("/encryption")
    assert deployed.get("/connections")["items"] == []


def test_no_flow_delivers_unencrypted_what_is_to_be_encrypted(deployed: Deployment) -> None:
    source = deployed.post("/sourceConnections", source_body(deployed.import_rows("events", rows(0, 3))))["id"]
    closed = make(deployed, encryption=STORED)["id"]
    target = deployed.post("/targetConnections", target_body(closed))["id"]
    refused = deployed.post("/flows", flow_body(source, target, deployed.clock), 400)
    assert "files cannot be encrypted yet" in refused["errorMessage"]

    opened = make(deployed)["id"]
    target = deployed.post("/targetConnections", target_body(opened))["id"]
    flow = deployed.post("/flows", flow_body(source, target, deployed.clock))["id"]
    deployed.patch(f"/connections/{opened}", [{"op": "add", "path": "/encryption", "value": STORED}])
    deployed.run_due()
    (run,) = deployed.runs(flow)
    assert run["metrics"]["statusSummary"]["errors"][0]["code"] == "EXPORT-2004-400"
    assert not list(deployed.zone.rglob("*.parquet"))
