"""A stored secret goes only where it was given for: what says where, or as whom, is changed with the secret alone."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from offtake.cli.main import main
from offtake.destinations.registry import DESTINATIONS
from offtake.destinations.schema import MASK
from offtake.store.vault import Vault, VaultError
from tests.api.test_patches import op, stored_secret
from tests.deployment import FLOW_SERVICE, Deployment
from tests.destinations.cases import by_name

_KEY = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
_SSH: dict[str, Any] = {
    "domain": "sftp.partner.example",
    "username": "drop",
    "port": 22,
    "hostKeyFingerprint": "SHA256:" + "A" * 43,
    "allowOldAlgorithms": False,
    "temporaryName": "DOT",
    "exclusiveCreate": True,
    "readBack": True,
}
_PRINCIPAL: dict[str, Any] = {
    "servicePrincipalId": "one",
    "servicePrincipalKey": "secret-1",
    "tenant": "example.onmicrosoft.com",
    "authorityUrl": "https://login.microsoftonline.com",
}
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("Amazon S3", "Access Key"): {
        "s3AccessKey": "AKIA",
        "s3SecretKey": "secret-1",
        "endpointUrl": "https://s3.example.org",
        "region": "eu-west-1",
        "addressingStyle": "PATH",
    },
    ("Amazon S3", "Assumed Role"): {
        "s3Role": "arn:aws:iam::123456789012:role/exports",
        "externalId": "partner-1",
        "endpointUrl": "https://s3.example.org",
        "region": "eu-west-1",
        "addressingStyle": "PATH",
    },
    ("Azure Blob Storage", "ConnectionString"): {
        "connectionString": "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=c2VjcmV0LTE=",
    },
    ("SFTP", "SFTP with Password"): _SSH | {"password": "secret-1"},
    ("SFTP", "SFTP with SSH Key"): _SSH | {"sshKey": base64.b64encode(_KEY).decode(), "password": "secret-1"},
}
"""What the test knows values of; other ways to log in are made of their fields' examples."""
OTHER: dict[str, Any] = {
    "s3AccessKey": "AKIB",
    "endpointUrl": "https://s3.attacker.example",
    "region": "us-east-2",
    "addressingStyle": "VIRTUAL",
    "externalId": "partner-2",
    "domain": "attacker.example",
    "username": "other",
    "port": 2222,
    "hostKeyFingerprint": "SHA256:" + "B" * 43,
    "allowOldAlgorithms": True,
    "temporaryName": "SUFFIX",
    "exclusiveCreate": False,
    "readBack": False,
    "servicePrincipalId": "two",
    "tenant": "attacker.onmicrosoft.com",
    "authorityUrl": "https://login.attacker.example",
    "storageAccountUrl": "https://attacker.blob.core.windows.net",
    "accessKeyId": "GOOG2",
}

METHODS = [(one, method) for one in DESTINATIONS for method in one.auth_methods]


def _is_secret(field: Any) -> bool:
    return SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))


def _params(destination: Any, method: Any) -> dict[str, Any]:
    known = GIVEN.get((destination.name, method.name))
    if known is not None:
        return dict(known)
    return {
        field.alias or name: field.examples[0] for name, field in method.model.model_fields.items() if field.examples
    }


@pytest.mark.parametrize(
    ("destination", "method"), METHODS, ids=[f"{one.name}: {method.name}" for one, method in METHODS]
)
def test_what_binds_a_secret_is_changed_with_the_secret_only(
    deployed: Deployment, destination: Any, method: Any
) -> None:
    given = _params(destination, method)
    fields = {field.alias or name: (name, field) for name, field in method.model.model_fields.items()}
    auth = {"specName": method.name, "params": given}
    spec = {"id": destination.connection_spec_id, "version": "1.0"}
    base = f"/connections/{deployed.post('/connections', {'name': 'b', 'connectionSpec': spec, 'auth': auth})['id']}"
    masked = given | {key: MASK for key, (_, field) in fields.items() if _is_secret(field) and key in given}
    assert MASK in masked.values()
    for key, (name, field) in fields.items():
        if _is_secret(field) or key not in given:
            continue
        other = given[key].replace("account", "attacker") if key == "url" else OTHER.get(key, given[key])
        assert other != given[key], f"give the test another value of {key}"
        body = [op("replace", "/auth/params", masked | {key: other})]
        if name in method.model.free:
            deployed.patch(base, body)
            deployed.patch(base, [op("replace", "/auth/params", masked)])
            continue
        problem = deployed.patch(base, body, 400)
        assert f"{key} changes" in problem["detail"]
        assert problem["report"]["errors"][0]["path"].removeprefix("/auth/params/") in masked
        dropped = deployed.patch(base, [op("replace", "/auth/params", {**masked, key: None})], 400)
        assert "secret-1" not in str(problem) + str(dropped)
        assert stored_secret(deployed, base) == given
        deployed.patch(base, [op("replace", "/auth/params", given | {key: other})])
        deployed.patch(base, [op("replace", "/auth/params", given)])
    assert stored_secret(deployed, base) == given


@pytest.fixture
def sftp(deployed: Deployment) -> str:
    (destination,) = [one for one in DESTINATIONS if one.name == "SFTP"]
    auth = {"specName": "SFTP with Password", "params": _SSH | {"password": "secret-1"}}
    spec = {"id": destination.connection_spec_id, "version": "1.0"}
    return f"/connections/{deployed.post('/connections', {'name': 'b', 'connectionSpec': spec, 'auth': auth})['id']}"


def test_a_remembered_host_key_stays_when_credentials_are_sent_without_it(deployed: Deployment, sftp: str) -> None:
    new = {"domain": _SSH["domain"], "username": "drop", "password": "secret-2"}
    deployed.patch(sftp, [op("replace", "/auth/params", new)])
    assert stored_secret(deployed, sftp)["hostKeyFingerprint"] == _SSH["hostKeyFingerprint"]


def test_a_remembered_host_key_goes_when_it_is_dropped_and_with_its_server(
    deployed: Deployment, sftp: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = {"domain": _SSH["domain"], "username": "drop", "password": "secret-2"}
    deployed.patch(sftp, [op("replace", "/auth/params", {**new, "hostKeyFingerprint": None})])
    assert "hostKeyFingerprint" not in stored_secret(deployed, sftp)
    capsys.readouterr()
    assert main(["audit", "list", "--json", "--data-dir", str(deployed.backend.settings.data_dir)]) == 0
    assert _SSH["hostKeyFingerprint"] in capsys.readouterr().out
    deployed.patch(sftp, [op("replace", "/auth/params", {**new, "hostKeyFingerprint": _SSH["hostKeyFingerprint"]})])
    deployed.patch(sftp, [op("replace", "/auth/params", {**new, "domain": "another.example"})])
    assert "hostKeyFingerprint" not in stored_secret(deployed, sftp)


def test_a_refused_change_of_a_secrets_way_is_not_in_the_store(deployed: Deployment, sftp: str) -> None:
    before = deployed.get(sftp)["items"][0]
    masked = _SSH | {"password": MASK, "domain": "attacker.example"}
    deployed.patch(sftp, [op("replace", "/name", "renamed"), op("replace", "/auth/params", masked)], 400)
    assert deployed.get(sftp)["items"][0] == before
    assert deployed.http.get(f"{FLOW_SERVICE}{sftp}").status_code == 200


def test_credentials_that_the_vault_cannot_open_are_replaced_by_whole_new_ones(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"id": by_name("Amazon S3").connection_spec_id, "version": "1.0"}
    auth = {"specName": "Access Key", "params": {"s3AccessKey": "AKIA", "s3SecretKey": "secret-1"}}
    made = deployed.post("/connections", {"name": "lost", "connectionSpec": spec, "auth": auth})["id"]

    decrypt = Vault.decrypt

    def lost(self: Vault, row_id: str, sealed: Any) -> Any:
        if row_id == made:
            raise VaultError("A stored secret was encrypted with another vault key.")
        return decrypt(self, row_id, sealed)

    monkeypatch.setattr(Vault, "decrypt", lost)
    for secret, status in ((MASK, 400), ("secret-2", 200)):
        new = auth | {"params": {"s3AccessKey": "AKIB", "s3SecretKey": secret}}
        deployed.patch(f"/connections/{made}", [op("replace", "/auth/params", new["params"])], status)
    monkeypatch.undo()
    assert stored_secret(deployed, f"/connections/{made}")["s3SecretKey"] == "secret-2"
