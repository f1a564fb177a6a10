"""A delivery compared with what lies at each destination."""

import hashlib
from dataclasses import replace
from typing import Final
from uuid import uuid4

import pytest

from offtake.destinations import schema
from offtake.destinations.base import Sink
from offtake.exporting import manifest as proof
from offtake.exporting.job import ExportJob, join_key
from offtake.exporting.plan import part_name
from offtake.exporting.target import DeliveryTarget
from offtake.exporting.verify import DeliveredFiles, VerificationResult, verify
from offtake.store.tables import Run, RunDataset, RunPart
from tests.destinations.cases import Case
from tests.info_items import failure

pytestmark = pytest.mark.matrix(one_in=2)

FOLDER: Final = "out/65f0c2a1b4d3e2f1a0b9c8d7/exportTime=202603011200"
EXPORTED_AT: Final = 1_772_366_400_000


@pytest.fixture
def delivery(case: Case, sink: Sink) -> DeliveredFiles:
    """Three files and their manifest, as a run that succeeded would have written them."""
    place = DeliveryTarget(
        case.destination.connection_spec_id,
        case.credentials,
        schema.parse_target_params(
            case.destination, {"datasetFileType": "JSON", "compression": "GZIP", **case.location}
        ),
        case.sandbox_location,
    )
    run_id, flow_id = str(uuid4()), str(uuid4())
    manifest_key = join_key(FOLDER, f"manifest-{flow_id}-{run_id}.json")
    job = ExportJob(run_id, str(uuid4()), flow_id, EXPORTED_AT, (), place, manifest_key=manifest_key)
    dataset = RunDataset(
        run_id=run_id,
        dataset_id="65f0c2a1b4d3e2f1a0b9c8d7",
        kind="full",
        to_snapshot=7,
        folder=FOLDER,
        deleted_rows=0,
        error=None,
    )
    parts = []
    for number in range(3):
        body = f"the rows of file {number}".encode()
        key = join_key(FOLDER, part_name(run_id, number, ".json.gz"))
        sink.put(key, [body])
        digest = hashlib.sha256(body).hexdigest()
        parts.append(
            RunPart(number=number, dataset_id=dataset.dataset_id, key=key, rows=5, bytes=len(body), sha256=digest)
        )
    body = proof.manifest(job, [dataset], parts)
    sink.put(manifest_key, [body])
    stored = {"key": manifest_key, "bytes": len(body)}
    run = Run(
        id=run_id,
        scheduled_at=EXPORTED_AT,
        dataset_ids=[dataset.dataset_id],
        status="success",
        completed_at=EXPORTED_AT,
        failure=None,
        manifest_key=manifest_key,
        manifest=stored,
        errors=[],
    )
    return DeliveredFiles(job, run, [dataset], parts, {FOLDER})


def found(
    delivery: DeliveredFiles, sink: Sink, *, download: bool = False, strict: bool = False
) -> list[tuple[str, str]]:
    """What is wrong, by the last part of each name."""
    result = verify(delivery, sink, (lambda _count: None) if download else None, strict=strict)
    return [(one.what, one.uri.rpartition("/")[2]) for one in result.findings]


def test_missing_extra_and_altered_files_are_reported(delivery: DeliveredFiles, sink: Sink) -> None:
    read: list[int] = []
    assert verify(delivery, sink, read.append) == VerificationResult(
        3, 15, sum(part.bytes or 0 for part in delivery.parts), (), equal=3, manifest="equal"
    )
    assert sum(read) == sum(part.bytes or 0 for part in delivery.parts)

    first, second, _ = delivery.parts
    names = [part.key.rpartition("/")[2] for part in delivery.parts]
    sink.put(second.key, [b"THE ROWS OF FILE 1"])
    assert len(b"THE ROWS OF FILE 1") == second.bytes
    assert found(delivery, sink) == []
    assert found(delivery, sink, download=True) == [("altered", names[1])]
    sink.put(second.key, [b"short"])
    sink.delete(first.key)
    leftover = part_name(delivery.run.id, 9, ".json.gz")
    of_another_run = part_name(str(uuid4()), 0, ".json.gz")
    for name in (leftover, of_another_run, "notes.txt"):
        sink.put(join_key(FOLDER, name), [b"x"])
    extra = [("extra", name) for name in sorted([leftover, "notes.txt"])]
    assert found(delivery, sink) == [("altered", names[1]), *extra]
    assert sorted(found(delivery, sink, strict=True)) == sorted([("missing", names[0]), ("altered", names[1]), *extra])
    (size,) = [one.detail for one in verify(delivery, sink).findings if one.what == "altered"]
    assert size == "size 5, should be 18"
    result = verify(delivery, sink)
    assert (result.equal, result.gone, result.different, result.manifest) == (1, 1, 1, "equal")


def test_the_manifest_must_say_what_was_delivered(delivery: DeliveredFiles, sink: Sink) -> None:
    assert delivery.manifest is not None
    key = delivery.manifest.key
    body = b"".join(sink.read(key))
    sink.put(key, [body.replace(b'"full"', b'"FULL"')])
    assert found(delivery, sink) == [("altered", key.rpartition("/")[2])]
    sink.delete(key)
    assert found(delivery, sink) == []
    assert found(delivery, sink, strict=True) == [("missing", key.rpartition("/")[2])]


def test_what_was_collected_or_has_expired_is_counted(delivery: DeliveredFiles, sink: Sink) -> None:
    first, second, _ = delivery.parts
    for part in delivery.parts:
        part.finished_at = EXPORTED_AT
    second.finished_at = EXPORTED_AT - 1
    sink.delete(first.key)
    sink.delete(second.key)
    result = verify(delivery, sink)
    assert (result.findings, result.collected, result.expired) == ((), 2, 0)
    kept_shortly = replace(delivery, expired_before=EXPORTED_AT)
    assert delivery.manifest is not None
    sink.delete(delivery.manifest.key)
    result = verify(kept_shortly, sink)
    assert (result.findings, result.collected, result.expired) == ((), 2, 1)
    assert (result.equal, result.gone, result.different, result.manifest) == (1, 2, 0, "gone")
    assert [what for what, _ in found(kept_shortly, sink, strict=True)] == ["missing"] * 2


def test_a_failed_run_that_kept_files_must_have_these_and_no_others(delivery: DeliveredFiles, sink: Sink) -> None:
    delivery.run.status, delivery.run.failure, delivery.run.disposal = "failed", failure("EXPORT-2003-504"), "kept"
    delivery.run.manifest = None
    for part in delivery.parts[:2]:
        part.finished_at = EXPORTED_AT
    assert [what for what, _ in found(delivery, sink)] == ["extra"] * 2
    assert (verify(delivery, sink).files, verify(delivery, sink).rows) == (2, 10)


def test_a_run_that_failed_must_have_left_nothing(delivery: DeliveredFiles, sink: Sink) -> None:
    delivery.run.status, delivery.run.failure = "failed", failure("EXPORT-2003-504")
    delivery.run.manifest = None
    assert {what for what, _ in found(delivery, sink)} == {"extra"}
    assert len(found(delivery, sink)) == 4
    assert delivery.manifest_key is not None
    for key in [delivery.manifest_key, *(part.key for part in delivery.parts)]:
        sink.delete(key)
    assert verify(delivery, sink) == VerificationResult(0, 0, 0, ())


def test_a_run_that_wrote_no_manifest_file_needs_none(delivery: DeliveredFiles, sink: Sink) -> None:
    assert delivery.manifest is not None
    sink.delete(delivery.manifest.key)
    delivery.run.manifest, delivery.run.manifest_key = None, ""
    without = replace(delivery, job=replace(delivery.job, manifest_key=""))
    read: list[int] = []
    whole = sum(part.bytes or 0 for part in without.parts)
    assert verify(without, sink, read.append) == VerificationResult(3, 15, whole, (), equal=3)
    sink.delete(without.parts[0].key)
    assert verify(without, sink) == VerificationResult(3, 15, whole, (), collected=1, equal=2, gone=1)
    assert [what for what, _ in found(without, sink, strict=True)] == ["missing"]


def test_a_run_without_files_must_have_left_its_manifest_and_nothing_else(delivery: DeliveredFiles, sink: Sink) -> None:
    """Its folder is not looked into: it has written nothing there."""
    key = f"out/manifest-{delivery.job.manifest_owner_id}-{delivery.run.id}.json"
    body = proof.manifest(delivery.job, delivery.datasets, [])
    delivery.run.manifest = {"key": key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    delivery.run.manifest_key = key
    empty = replace(delivery, job=replace(delivery.job, manifest_key=key), parts=[])
    assert verify(empty, sink) == VerificationResult(0, 0, 0, (), collected=1, manifest="gone")
    assert found(empty, sink, strict=True) == [("missing", key.rpartition("/")[2])]
    sink.put(key, [body])
    assert verify(empty, sink) == VerificationResult(0, 0, 0, (), manifest="equal")
    delivery.run.status, delivery.run.failure, delivery.run.manifest = "failed", failure("EXPORT-1499-400"), None
    assert found(empty, sink) == [("extra", key.rpartition("/")[2])]
