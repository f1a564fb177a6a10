"""Verification of a delivery: compares the destination with the run's records and finds extra, altered and gone files.

Each file was verified when it was completed, so one that is gone was collected by its consumer or has expired. Sizes
and hashes are those of the delivered bytes; of encrypted files, those of the encrypted bytes.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from offtake.destinations.base import Sink
from offtake.exporting.job import ExportJob
from offtake.exporting.manifest import manifest_key
from offtake.store import manifests
from offtake.store.disposals import KEPT
from offtake.store.run_parts import is_delivered
from offtake.store.tables import Run, RunDataset, RunPart

What = Literal["missing", "extra", "altered"]
Outcome = Literal["equal", "gone", "different"]
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME_OF_A_RUN: Final = re.compile(rf"(?:part-\d+-tid-\d+-{_UUID}-|manifest-{_UUID}-{_UUID}\.json).*")


@dataclass(frozen=True)
class Mismatch:
    """One object that differs from the run's records."""

    what: What
    uri: str
    detail: str = ""


@dataclass(frozen=True)
class VerificationResult:
    """What a run delivered according to its records (including the manifest, which has no rows), and the mismatches.

    `collected`: the number of files (including the manifest) that consumers have removed; `expired`: the number that
    the landing zone's retention has removed. `equal`, `gone` and `different`: the data files by outcome; `gone` has the
    collected and the expired ones. `manifest`: the outcome for the manifest file; None if the run wrote none.
    """

    files: int
    rows: int
    bytes: int
    findings: tuple[Mismatch, ...]
    collected: int = 0
    expired: int = 0
    equal: int = 0
    gone: int = 0
    different: int = 0
    manifest: Outcome | None = None


@dataclass(frozen=True)
class WrittenManifest:
    """A written manifest: its key, size in bytes and SHA-256 (hexadecimal)."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DeliveredFiles:
    """The records of a finished run. `own_folders`: folders that no other run has delivered to.

    `expired_before`: the landing zone has removed files written before that time (epoch milliseconds); None where files
    do not expire.
    """

    job: ExportJob
    run: Run
    datasets: Sequence[RunDataset]
    parts: Sequence[RunPart]
    own_folders: Collection[str]
    expired_before: int | None = None

    @property
    def files(self) -> list[RunPart]:
        """The delivered files; empty for a failed run whose files were not kept."""
        if self.run.disposal == KEPT:
            return [part for part in self.parts if part.finished_at]
        return list(self.parts) if is_delivered(self.run, self.datasets) else []

    def has_expired(self, written_at: int | None) -> bool:
        """Whether a file written at that time has expired."""
        return self.expired_before is not None and written_at is not None and written_at < self.expired_before

    @property
    def manifest(self) -> WrittenManifest | None:
        """The run's manifest file; None when the run wrote none."""
        known = self.run.manifest
        if known is None or not is_delivered(self.run, self.datasets):
            return None
        if "sha256" not in known:
            # Versions before 0003 stored no hash; their manifest files equal the store's manifest.
            body = manifests.to_bytes(manifests.manifest_of(self.run, self.datasets, self.parts))
            return WrittenManifest(known["key"], len(body), hashlib.sha256(body).hexdigest())
        return WrittenManifest(known["key"], known["bytes"], known["sha256"])

    @property
    def manifest_key(self) -> str | None:
        """The key of the run's manifest file; None when the run writes none."""
        known = self.run.manifest
        return known["key"] if known else manifest_key(self.job, self.datasets, self.parts)


def verify(
    delivery: DeliveredFiles, sink: Sink, seen: Callable[[int], None] | None = None, *, strict: bool = False
) -> VerificationResult:
    """Compare names and sizes, and the manifest's hash; with `seen`, read every file and compare its hash.

    `seen` is called with the size of each chunk read. `strict`: a collected file is a finding. Raises `DeliveryError`
    when the destination fails.
    """
    manifest = delivery.manifest
    listed = _listed(delivery, sink)
    of_manifest = [_manifest(sink, manifest, delivery.run.completed_at)] if manifest else []
    # A listing needs one request for a thousand files; only files missing from it are looked up one by one.
    of_files = [_file(sink, one, listed.get(one.key) or sink.size(one.key), seen) for one in delivery.files]
    found = [*of_manifest, *of_files]
    outcomes = Counter(_outcome(one) for one in of_files)
    gone = [one for one in found if isinstance(one, _Gone)]
    expired = [one for one in gone if delivery.has_expired(one.written_at)]
    collected = [one for one in gone if one not in expired]
    findings = [one for one in found if isinstance(one, Mismatch)]
    findings += [Mismatch("missing", one.uri, one.detail) for one in collected if strict]
    expected = {part.key for part in delivery.files} | ({manifest.key} if manifest else set())
    findings += [Mismatch("extra", sink.uri(key)) for key in sorted(listed.keys() - expected)]
    return VerificationResult(
        files=len(delivery.files),
        rows=sum(part.rows or 0 for part in delivery.files),
        bytes=sum(part.bytes or 0 for part in delivery.files),
        findings=tuple(findings),
        collected=len(collected),
        expired=len(expired),
        equal=outcomes["equal"],
        gone=outcomes["gone"],
        different=outcomes["different"],
        manifest=_outcome(of_manifest[0]) if of_manifest else None,
    )


@dataclass(frozen=True)
class _Gone:
    """An object that is gone, and when it was written."""

    uri: str
    written_at: int | None
    detail: str = ""


def _outcome(found: Mismatch | _Gone | None) -> Outcome:
    return "equal" if found is None else "gone" if isinstance(found, _Gone) else "different"


def _manifest(sink: Sink, written: WrittenManifest, written_at: int | None) -> Mismatch | _Gone | None:
    found, uri = sink.size(written.key), sink.uri(written.key)
    if found is None:
        return _Gone(uri, written_at, "the manifest")
    if found != written.bytes:
        return Mismatch("altered", uri, f"size {found}, should be {written.bytes}")
    if hashlib.sha256(b"".join(sink.read(written.key))).hexdigest() != written.sha256:
        return Mismatch("altered", uri, "its content differs from the run's manifest")
    return None


def _file(sink: Sink, part: RunPart, found: int | None, seen: Callable[[int], None] | None) -> Mismatch | _Gone | None:
    uri = sink.uri(part.key)
    if found is None:
        return _Gone(uri, part.finished_at)
    if found != part.bytes:
        return Mismatch("altered", uri, f"size {found}, should be {part.bytes}")
    if seen is None:
        return None
    digest = hashlib.sha256()
    for chunk in sink.read(part.key):
        digest.update(chunk)
        seen(len(chunk))
    if digest.hexdigest() == part.sha256:
        return None
    return Mismatch("altered", uri, f"SHA-256 {digest.hexdigest()}, should be {part.sha256}")


def _listed(delivery: DeliveredFiles, sink: Sink) -> dict[str, int]:
    """Objects with the run's id in their name, with sizes; in its own folders, also objects that belong to no run."""
    found: dict[str, int] = {}
    # A run without parts writes nothing into its datasets' folders.
    for folder in sorted({one.folder for one in delivery.datasets if not one.error and delivery.parts}):
        own = folder in delivery.own_folders
        found |= {one.key: one.size for one in sink.list(folder) if _is_ours(one.key, delivery.run.id, own=own)}
    # With several folders or none, the manifest file is in the folder above, with those of other runs.
    key = delivery.manifest_key
    size = None if key is None or key in found else sink.size(key)
    return found if key is None or size is None else found | {key: size}


def _is_ours(key: str, run_id: str, *, own: bool) -> bool:
    name = key.rpartition("/")[2]
    return run_id in name or (own and _NAME_OF_A_RUN.fullmatch(name) is None)
