"""How each destination's failures are told: terminal or transient, with a code, a reason, a remedy, and no secret."""

import os
import resource
from pathlib import Path

import pytest

from offtake.destinations import schema
from offtake.destinations.contract import Sink, Site
from offtake.errors import DeliveryError
from tests.destinations.conftest import by_name, landing_zone
from tests.servers import S3Server, free_port

SECRET = "MARKEDsecretMARKED"


def s3_sink(endpoint: str, key: str, secret: str, bucket: str) -> Sink:
    destination = by_name("Amazon S3")
    credentials = schema.parse_credentials(
        destination, "Access Key", {"s3AccessKey": key, "s3SecretKey": secret, "endpointUrl": endpoint}
    )
    location = {"datasetFileType": "JSON", "compression": "GZIP", "bucketName": bucket, "path": "out"}
    assert destination.open is not None
    return destination.open(credentials, schema.parse_target_params(destination, location), Site("prod", Path("/")))


def refused(sink: Sink) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sink.put("out/file.json", [b"x"])
    assert SECRET not in f"{caught.value!s}{caught.value!r}{caught.value.__cause__!r}"
    assert caught.value.remedy
    return caught.value


def test_wrong_credentials_are_terminal(s3: S3Server) -> None:
    s3.make_bucket("creds")
    for key, secret in ((s3.access_key, SECRET), ("nobody", s3.secret_key)):
        error = refused(s3_sink(s3.endpoint, key, secret, "creds"))
        assert (error.code, error.transient) == ("EXPORT-2001-401", False)


def test_a_missing_bucket_is_terminal_and_named(s3: S3Server) -> None:
    error = refused(s3_sink(s3.endpoint, s3.access_key, s3.secret_key, "not-there"))
    assert (error.code, error.transient) == ("EXPORT-2002-404", False)
    assert "not-there" in error.message


def test_a_server_that_is_not_there_is_transient_and_named() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    error = refused(s3_sink(endpoint, "key", SECRET, "bucket"))
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)
    assert endpoint in error.message


def test_a_folder_that_may_not_be_written_is_terminal(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text("a file where the folder should be")
    error = refused(landing_zone(tmp_path).open())
    assert (error.code, error.transient) == ("EXPORT-2002-404", False)


def test_a_link_that_leads_out_of_the_zone_is_refused(tmp_path: Path) -> None:
    zone = tmp_path / "zone" / "prod"
    zone.mkdir(parents=True)
    (zone / "out").symlink_to(tmp_path)
    error = refused(landing_zone(tmp_path).open())
    assert error.code == "EXPORT-2001-403"
    assert not (tmp_path / "file.json").exists()


def test_a_full_disk_is_transient_and_leaves_nothing(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    case = landing_zone(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(DeliveryError) as caught:
            case.open().put("out/file.json", [os.urandom(65_536)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
    assert case.files() == []


def test_what_a_killed_write_left_beside_is_not_listed_and_is_overwritten(tmp_path: Path) -> None:
    case = landing_zone(tmp_path)
    folder = tmp_path / "zone" / "prod" / "out"
    folder.mkdir(parents=True)
    (folder / ".file.json.tmp").write_bytes(b"half a fi")
    sink = case.open()
    assert list(sink.list("")) == []
    sink.put("out/file.json", [b"whole"])
    assert [path.name for path in case.files()] == ["file.json"]


def test_deleting_removes_the_folders_that_are_empty_then(tmp_path: Path) -> None:
    sink = landing_zone(tmp_path).open()
    sink.put("out/deep/er/file.json", [b"x"])
    sink.delete("out/deep/er/file.json")
    assert list((tmp_path / "zone" / "prod").iterdir()) == []
