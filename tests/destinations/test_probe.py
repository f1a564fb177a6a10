"""Checking a place before it is trusted: what is missing is said, right by right, and nothing stays behind."""

from pathlib import Path
from typing import Any

import pytest

from offtake.destinations.probe import probe
from tests.azure_servers import ACCOUNT, AzureServer, account_sas
from tests.destinations.cases import S3_RIGHTS, Case, amazon_s3_by_role, azure_blob
from tests.destinations.test_amazon_s3 import user
from tests.servers import Amazon


def test_a_place_where_everything_can_be_done(case: Case) -> None:
    assert probe(case.open(), "out") == []
    assert case.names() == []


@pytest.mark.parametrize("written", ["/exports//daily/", "exports/daily//"])
def test_doubled_slashes_are_one_everywhere(case: Case, written: str) -> None:
    key = "remotePath" if "remotePath" in case.location else "path"
    if case.destination.name == "SFTP":
        written = written.strip("/")  # one at the begin means the server's root there
    doubled = case.having(location={key: written})
    assert doubled.target.folder() == "exports/daily"
    assert probe(doubled.open(), doubled.target.folder()) == []
    assert case.names() == []


@pytest.mark.needs("missing root")
def test_a_place_that_is_not_there(case: Case) -> None:
    assert [error.code for error in probe(case.having(**case.missing).open(), "out")] == ["EXPORT-2002-404"]


@pytest.mark.parametrize("missing", S3_RIGHTS)
def test_every_right_that_is_missing_at_amazon_is_named(
    aws: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    case = amazon_s3_by_role(aws, tmp_path, monkeypatch)
    found = probe(user(aws, case, [one for one in S3_RIGHTS if one != missing]).open(), "out")
    assert [error.code for error in found] == ["EXPORT-2001-403"]
    assert missing in found[0].remedy
    assert (case.names() == []) == (missing != "s3:DeleteObject")


@pytest.mark.parametrize(
    ("granted", "missing"),
    [("rwdc", ["list"]), ("wdlc", ["read"]), ("rlcw", ["delete"]), ("cw", ["read", "list", "delete"])],
)
def test_every_right_that_is_missing_at_azure_is_named(
    azure: AzureServer, tmp_path: Path, granted: str, missing: list[str]
) -> None:
    case = azure_blob(azure, tmp_path)
    signature = account_sas(granted)
    string = f"AccountName={ACCOUNT};BlobEndpoint={azure.endpoint};SharedAccessSignature={signature}"
    change: dict[str, Any] = {"connectionString": string}
    found = probe(case.having(auth=change).open(), "out")
    assert [error.code for error in found] == ["EXPORT-2001-403"] * len(missing)
    for error, right in zip(found, missing, strict=True):
        assert f"Grant {right} " in error.remedy
        assert signature.rpartition("sig=")[2] not in str(error)
