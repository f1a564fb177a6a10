"""Encryption of files: every published spelling is stored as one, unusable keys are refused (section 9)."""

import base64
import gzip
import hashlib
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from offtake.formats import pgp
from offtake.scheduling.background import worker_of
from offtake.scheduling.scheduler import enqueue_due_runs
from tests.deployment import ZONE, Deployment, flow_body, rows, source_body, target_body
from tests.keyring import UNUSABLE, USABLE, Keyring

SPEC = {"id": ZONE, "version": "1.0"}
PATH = "/encryption/params/publicKey"


def said(key: bytes | str, name: str = "File Encryption", algorithm: str = "PGP/GPG") -> dict[str, Any]:
    sent = base64.b64encode(key).decode() if isinstance(key, bytes) else key
    return {"specName": name, "params": {"encryptionAlgo": algorithm, "publicKey": sent}}


def make(deployed: Deployment, status: int = 201, **encryption: Any) -> Any:
    return deployed.post("/connections", {"name": "zone", "connectionSpec": SPEC, **encryption}, status)


def flow_through(deployed: Deployment, base: str, dataset: str, **params: Any) -> str:
    source = deployed.post("/sourceConnections", source_body(dataset))["id"]
    target = deployed.post("/targetConnections", target_body(base, **params))["id"]
    return str(deployed.post("/flows", flow_body(source, target, deployed.clock))["id"])


def error_of(deployed: Deployment, flow: str) -> Any:
    """The error of the flow's newest run."""
    status = deployed.runs(flow)[0]["metrics"]["statusSummary"]
    assert status["status"] == "failed"
    return status["errors"][0]


def files_of(deployed: Deployment) -> list[Path]:
    return [path for path in deployed.zone.rglob("*") if path.is_file()]


def test_every_published_spelling_is_stored_as_one(deployed: Deployment, keys: Keyring) -> None:
    key = keys.key("rsa")
    for sent in (
        {"encryption": said(key)},
        {"encryptionSpecs": said(key, "Encryption spec", "PGPGPG")},
        {"encryptionSpecs": [said(key, "File PGP/GPG Encryption", "pgpgpg")]},
    ):
        base = make(deployed, **sent)["id"]
        assert deployed.get(f"/connections/{base}")["items"][0]["encryption"] == said(key)


def test_none_is_no_encryption(deployed: Deployment, keys: Keyring) -> None:
    key = keys.key("rsa")
    base = f"/connections/{make(deployed, encryption=said(key, algorithm='NONE'))['id']}"
    assert "encryption" not in deployed.get(base)["items"][0]
    deployed.patch(base, [{"op": "add", "path": "/encryption", "value": said(key)}])
    assert deployed.get(base)["items"][0]["encryption"] == said(key)
    deployed.patch(base, [{"op": "remove", "path": "/encryption"}])
    assert "encryption" not in deployed.get(base)["items"][0]


@pytest.mark.parametrize(
    "encryption", ["x", said("eA==", "Another"), said("eA==", algorithm="AES"), [said("eA==")] * 2]
)
def test_what_is_no_encryption_is_refused(deployed: Deployment, encryption: Any) -> None:
    assert make(deployed, 400, encryption=encryption)["report"]["errors"][0]["path"].startswith("/encryption")
    assert deployed.get("/connections")["items"] == []


def test_an_unusable_key_is_refused_when_it_is_given(deployed: Deployment, keys: Keyring) -> None:
    base = f"/connections/{make(deployed)['id']}"
    for kind, problem in UNUSABLE.items():
        sent = said(keys.key(kind))
        patch = [{"op": "add", "path": "/encryption", "value": sent}]
        for answer in (make(deployed, 400, encryption=sent), deployed.patch(base, patch, 400)):
            (error,) = answer["report"]["errors"]
            assert error["path"] == PATH
            assert problem in error["message"]
            assert sent["params"]["publicKey"][80:120] not in json.dumps(answer)
    (only,) = deployed.get("/connections")["items"]
    assert "encryption" not in only


@pytest.mark.parametrize("sent", ["not base64!", "ключ", ""])
def test_a_key_that_is_not_base64_is_refused(deployed: Deployment, sent: str) -> None:
    assert make(deployed, 400, encryption=said(sent))["report"]["errors"][0]["path"] == PATH


def test_every_usable_key_is_accepted(deployed: Deployment, keys: Keyring) -> None:
    for kind in USABLE:
        base = make(deployed, encryption=said(keys.key(kind)))["id"]
        assert deployed.get(f"/connections/{base}")["items"][0]["encryption"] == said(keys.key(kind))


def test_without_gpg_a_key_is_refused(
    deployed: Deployment, keys: Keyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = keys.key("rsa")
    monkeypatch.setenv("PATH", str(tmp_path))
    (error,) = make(deployed, 400, encryption=said(key))["report"]["errors"]
    assert error["path"] == PATH
    assert "gpg (GnuPG 2.2.8 or newer) is not installed" in error["message"]


def test_the_landing_zone_publishes_the_spec(deployed: Deployment) -> None:
    (spec,) = deployed.get(f"/connectionSpecs/{ZONE}")["items"][0]["encryptionSpecs"]
    assert spec["name"] == "File PGP/GPG Encryption"


@pytest.mark.parametrize(
    ("params", "extension"),
    [
        ({"datasetFileType": "JSON", "compression": "GZIP"}, ".json.gz.gpg"),
        ({"datasetFileType": "PARQUET", "compression": "GZIP"}, ".gz.parquet.gpg"),
        ({"datasetFileType": "PARQUET", "compression": "NONE"}, ".parquet.gpg"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_flow_delivers_files_that_only_the_secret_key_opens(
    deployed: Deployment, keys: Keyring, params: Any, extension: str
) -> None:
    given = rows(0, 5000)
    base = make(deployed, encryption=said(keys.key("rsa")))["id"]
    flow_through(deployed, base, deployed.import_rows("events", given), **params)
    deployed.run_due()
    (manifest,) = deployed.manifests()
    (file,) = deployed.delivered(manifest)
    (result,) = manifest["exportResults"]
    assert file.name.endswith(extension)
    assert file.name.count(".") == extension.count(".")
    assert len(files_of(deployed)) == 1
    message = file.read_bytes()
    assert (result["size"], result["sha256"]) == (len(message), hashlib.sha256(message).hexdigest())
    assert result["recordCount"] == 5000
    plain = keys.decrypt(message)
    if ".json" in extension:
        assert [json.loads(line) for line in gzip.decompress(plain).splitlines()] == given
    else:
        assert pq.read_table(io.BytesIO(plain)).to_pylist() == given


def test_a_key_that_has_expired_fails_the_run_and_nothing_is_delivered(deployed: Deployment, keys: Keyring) -> None:
    short = keys.short_lived(seconds=3)
    base = make(deployed, encryption=said(short))["id"]
    flow = flow_through(deployed, base, deployed.import_rows("events", rows(0, 10)))
    while pgp.check_key(short) is None:
        time.sleep(0.2)
    deployed.run_due()
    error = error_of(deployed, flow)
    assert error["code"] == "EXPORT-2004-400"
    assert "has expired on" in error["message"]
    assert files_of(deployed) == []

    # It stands in the way of nothing but exports.
    path = f"/connections/{base}"
    deployed.patch(path, [{"op": "replace", "path": "/name", "value": "renamed"}])
    deployed.patch(path, [{"op": "replace", "path": "/encryption", "value": said(keys.key("rsa"))}])
    deployed.clock.advance(hours=3)
    deployed.run_due()
    (manifest,) = deployed.manifests()
    assert (manifest["datasets"][0]["exportKind"], manifest["exportResults"][0]["recordCount"]) == ("full", 10)


@pytest.mark.parametrize("begins", ["in the clear", "encrypted"])
def test_a_run_taken_up_again_delivers_nothing_in_the_clear_under_an_encrypted_name_or_the_other_way_round(
    deployed: Deployment, keys: Keyring, begins: str
) -> None:
    encryption = said(keys.key("rsa")) if begins == "encrypted" else None
    base = make(deployed, encryption=encryption)["id"]
    flow = flow_through(deployed, base, deployed.import_rows("events", rows(0, 10)))
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    stop = threading.Event()
    stop.set()
    assert worker_of(deployed.backend, deployed.engine, "stopped").run_next(stop)  # its plan is stored by then
    change = {"op": "remove", "path": "/encryption"} if encryption else {"op": "add", "path": "/encryption"}
    value = {} if encryption else {"value": said(keys.key("rsa"))}
    deployed.patch(f"/connections/{base}", [{**change, **value}])
    deployed.run_due()
    assert error_of(deployed, flow)["code"] == "EXPORT-2004-400"
    assert files_of(deployed) == []
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert deployed.manifests()[0]["exportResults"][0]["name"].endswith(".gpg") is (begins == "in the clear")
