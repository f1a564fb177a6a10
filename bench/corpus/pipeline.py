"""Files brought into datasets and out again by Offtake's own functions, in one deployment."""

import json
import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import func, select

from offtake.catalog import file_import
from offtake.catalog.file_import import ImportRequest
from offtake.clock import Clock
from offtake.engines.local import LocalEngine
from offtake.errors import OfftakeError
from offtake.store.tables import Batch, Dataset
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock

Format = Literal["JSON", "PARQUET"]
FORMATS: Final[tuple[Format, ...]] = ("JSON", "PARQUET")


@dataclass(frozen=True)
class Imported:
    """A file that came in: its dataset, and the notes of the import."""

    file: Path
    dataset_id: str
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """A file that did not. `crash`: by an error that is not a refusal; `left`: what of it was left behind."""

    file: Path
    sentence: str
    is_crash: bool
    left: str


@dataclass(frozen=True)
class Delivery:
    """A dataset's delivered files in either format, in their order, or why there are none."""

    files: dict[Format, tuple[Path, ...]] = field(default_factory=dict)
    errors: dict[Format, str] = field(default_factory=dict)


@dataclass
class Pipeline:
    """A deployment that files go through."""

    deployed: Deployment
    _imports: int = 0
    _flows: int = 0

    def bring_in(self, file: Path) -> Imported | Refused:
        """Make a dataset of the file."""
        before = self._content()
        backend, caller = self.deployed.backend, self.deployed.caller
        self._imports += 1
        wanted = ImportRequest(f"file {self._imports}", (file,))
        try:
            done = file_import.import_files(
                backend.database, backend.lake, backend.parsers, caller, backend.clock, wanted
            )
        except OfftakeError as error:
            return Refused(file, str(error), is_crash=False, left=_difference(before, self._content()))
        except Exception as error:  # noqa: BLE001 - what a file should never cause is a finding
            where = traceback.extract_tb(error.__traceback__)[-1]
            sentence = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            return Refused(file, sentence, is_crash=True, left=_difference(before, self._content()))
        return Imported(file, done.dataset.id, done.batch.rows, tuple(done.batch.notes))

    def take_out(self, datasets: Sequence[str]) -> dict[str, Delivery]:
        """Export the datasets as NDJSON and as Parquet, each by a flow to the landing zone."""
        made = {one: Delivery() for one in datasets}
        for kind in FORMATS:
            missing = self._export(kind, datasets, made)
            # A run that fails for one dataset does not say which.
            for one in missing if len(datasets) > 1 else ():
                self._export(kind, [one], made)
        return made

    def clear(self) -> None:
        """Remove what was delivered so far."""
        shutil.rmtree(self.deployed.zone, ignore_errors=True)

    def _export(self, kind: Format, datasets: Sequence[str], made: dict[str, Delivery]) -> list[str]:
        """Run a flow; the datasets that it did not deliver."""
        self._flows += 1
        folder = f"out-{self._flows}"
        compression = "GZIP" if kind == "JSON" else "NONE"
        self.deployed.sign_in()
        params = {"path": folder, "datasetFileType": kind, "compression": compression, "includeFileManifest": True}
        flow = self.deployed.flow(*datasets, params=params)
        self.deployed.run_due()
        runs = self.deployed.runs(flow)
        reason = json.dumps(runs[0]["metrics"].get("statusSummary", {})) if runs else "no run was made"
        files = _delivered(self.deployed.zone / folder, self.deployed.zone)
        missing = [one for one in datasets if one not in files]
        for one in datasets:
            if one in files:
                made[one].files[kind] = tuple(files[one])
                made[one].errors.pop(kind, None)
            else:
                made[one].errors[kind] = reason
        return missing

    def _content(self) -> dict[str, Any]:
        """All that a file that is refused could leave behind."""
        backend = self.deployed.backend
        with backend.database.reading() as session:
            datasets = session.scalar(select(func.count()).select_from(Dataset))
            batches = session.scalar(select(func.count()).select_from(Batch))
        lake = backend.settings.data_dir / "lake"
        files = {str(path.relative_to(lake)) for path in lake.rglob("*") if "warehouse" in path.parts}
        namespaces = backend.lake.catalog.list_namespaces()
        tables = {str(one) for space in namespaces for one in backend.lake.catalog.list_tables(space)}
        return {"datasets": datasets, "batches": batches, "files": files, "tables": tables}


@contextmanager
def pipeline(folder: Path) -> Iterator[Pipeline]:
    """A fresh deployment in a folder that is not there yet."""
    engine = LocalEngine(processes=1)
    try:
        with deployment(folder, FakeClock(Clock().now_ms()), engine) as deployed:
            yield Pipeline(deployed)
    finally:
        engine.close()


def _delivered(folder: Path, zone: Path) -> dict[str, list[Path]]:
    """The files that manifests name, by dataset, in the manifest's order."""
    found: dict[str, list[Path]] = {}
    for manifest in sorted(folder.rglob("manifest-*.json")):
        for one in json.loads(manifest.read_text())["exportResults"]:
            path = zone / one["sinkPath"].lstrip("/") / one["name"]
            found.setdefault(one["dataSetId"], []).append(path)
    return found


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What there is more or less of, empty if nothing."""
    changed = []
    for name, value in after.items():
        if value == before[name]:
            continue
        is_set = isinstance(value, set)
        changed.append(f"{name}: {sorted(value ^ before[name])[:5]}" if is_set else f"{name}: {value - before[name]:+}")
    return "; ".join(changed)
