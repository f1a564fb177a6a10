"""An encrypted part that cannot be finished: nothing arrives, nothing stays running, and the reason comes through."""

import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from offtake.destinations import schema
from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.registry import DESTINATIONS
from offtake.errors import CancelledError, DeliveryError
from offtake.exporting.part import PartTask, export_part
from offtake.exporting.target import DeliveryTarget
from offtake.formats import pgp
from offtake.lake import scan, slicing
from tests.cancellations import FREE, Until, unrecorded
from tests.keyring import Keyring
from tests.lake.lakes import TABLE, add, lake_in, numbered
from tests.servers import S3Server, rclone_s3

ROWS = 200_000
BUCKET = "partner"


@pytest.fixture
def task(tmp_path: Path, keys: Keyring) -> PartTask:
    """One part of a few hundred kilobytes to a landing zone, tried once."""
    lake = lake_in(tmp_path)
    snapshot = add(lake, numbered(*range(ROWS)))
    (part,) = slicing.slices(scan.open_table(lake, TABLE).full(snapshot).files, 2**62, 2**62)
    table = scan.open_table(lake, TABLE).schema(snapshot)
    lake.close()
    return PartTask(
        number=1,
        key="out/part-1.parquet.gpg",
        slices=tuple(part),
        schema=table,
        target=replace(place("Data Landing Zone", tmp_path / "zone", path="out"), encrypt_to=keys.key("rsa")),
        again=False,
    )


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket(BUCKET)
        yield server


def place(name: str, zone: Path, credentials: dict[str, str] | None = None, **location: str | bool) -> DeliveryTarget:
    destination = next(one for one in DESTINATIONS if one.name == name)
    params = {"datasetFileType": "PARQUET", "compression": "NONE", **location}
    return DeliveryTarget(
        destination.connection_spec_id,
        schema.parse_credentials(destination, "Access Key", credentials) if credentials else None,
        schema.parse_target_params(destination, params),
        SandboxLocation("prod", FolderZones(zone)),
    )


def bucket(s3: S3Server, tmp_path: Path, secret: str | None = None) -> DeliveryTarget:
    credentials = {"s3AccessKey": s3.access_key, "s3SecretKey": secret or s3.secret_key, "endpointUrl": s3.endpoint}
    return place("Amazon S3", tmp_path / "zone", credentials, bucketName=BUCKET, path="out")


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if one.name() == "gpg"]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def after(times: int) -> Until:
    """A cancellation token that asks to stop after so many checks."""
    asked = iter([False] * times)
    return Until(lambda: next(asked, True))


def blocks(count: int) -> Iterator[bytes]:
    return (bytes([number % 251]) * 2**20 for number in range(count))


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What a full disk is to one process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_part_that_is_cancelled(task: PartTask, tmp_path: Path) -> None:
    with pytest.raises(CancelledError) as stopped:
        export_part(task, after(2), unrecorded)
    assert children() == []
    assert files_below(tmp_path / "zone") == []
    assert stopped.tb is not None  # still held: it is not the collector that has ended the child


def test_a_part_whose_disk_is_full(task: PartTask, tmp_path: Path) -> None:
    with no_file_larger_than(100_000), pytest.raises(DeliveryError, match="File too large") as refused:
        export_part(task, FREE, unrecorded)
    assert children() == []
    assert files_below(tmp_path / "zone") == []
    assert (refused.value.code, refused.value.transient) == ("EXPORT-2003-504", True)


def test_a_part_that_is_done_twice_is_the_same_rows(task: PartTask, tmp_path: Path, keys: Keyring) -> None:
    file, found = tmp_path / "zone" / "prod" / task.key, []
    for _ in range(2):
        written = export_part(task, FREE, unrecorded)
        assert (written.rows, written.bytes) == (ROWS, file.stat().st_size)
        found.append(file.read_bytes())
    assert found[0] != found[1]
    assert keys.decrypt(found[0]) == keys.decrypt(found[1])


def test_a_bucket_gets_the_whole_message(s3: S3Server, tmp_path: Path, keys: Keyring) -> None:
    sink = bucket(s3, tmp_path).open()
    written = sink.put("out/a.gpg", pgp.encrypt(blocks(40), keys.key("rsa")))
    message = (s3.root / BUCKET / "out" / "a.gpg").read_bytes()
    assert len(message) == written
    assert keys.decrypt(message) == b"".join(blocks(40))


def test_a_bucket_gets_nothing_of_a_message_that_is_cut_off(s3: S3Server, tmp_path: Path, keys: Keyring) -> None:
    def killing() -> Iterator[bytes]:
        for number, block in enumerate(blocks(60)):
            if number == 30:
                children()[0].kill()
            yield block

    with closing(pgp.encrypt(killing(), keys.key("rsa"))) as stream, pytest.raises(DeliveryError, match="status -9"):
        bucket(s3, tmp_path).open().put("out/a.gpg", stream)
    assert files_below(s3.root / BUCKET) == []


def test_a_bucket_that_refuses_leaves_nothing_running(s3: S3Server, tmp_path: Path, keys: Keyring) -> None:
    refusing = bucket(s3, tmp_path, secret="wrong").open()
    with closing(pgp.encrypt(blocks(200), keys.key("rsa"))) as stream, pytest.raises(DeliveryError) as refused:
        refusing.put("out/a.gpg", stream)
    assert refused.value.code == "EXPORT-2001-401"
    assert children() == []
