"""`offtake demo`: a full and an incremental export over HTTP, with a check of the delivered rows."""

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from offtake.access import access
from offtake.catalog import file_import
from offtake.catalog.file_import import ImportRequest
from offtake.cli import output
from offtake.cli.demo_client import Client
from offtake.cli.local import opened_or_made, settings_at
from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events
from offtake.client.exports import DATA_LAKE, DATA_LAKE_ID
from offtake.deployment.admin_file import ADMIN_FILE
from offtake.documents import Json
from offtake.errors import OfftakeError

_DATASET: Final = "Customer events"
_ZONE_SPEC: Final = "10440537-2a7b-4583-ac39-ed38d4b848e8"
_ZONE_FLOW_SPEC: Final = "cd2fc47e-e838-4f38-a581-8fff2f99b63a"
_START_MS: Final = 1_767_225_600_000


def demo(
    rows: Annotated[int, typer.Option("--rows", min=2, help="Rows of the dataset.")] = 200_000,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="A folder that does not exist yet.")] = Path(
        "offtake-demo"
    ),
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port of the demo's server; default: a free one.")
    ] = None,
) -> None:
    """Demo: import a dataset, export it in full, then incrementally, and verify the delivered rows."""
    if data_dir.exists():
        raise OfftakeError(f"{data_dir} exists already. Remove it, or choose another --data-dir.")
    started = time.monotonic()
    port = port or _free_port()
    data_dir.mkdir(parents=True)
    first = _import(data_dir, rows, seed=1)
    with _server(data_dir, port) as client:
        flow_id = _tutorial(client, first)
        full = _wait(client, flow_id, runs=1)
        _enable_manifests(client, flow_id)
        _print("10. A new batch arrives; an ad-hoc run exports it without waiting for the next slot")
        _import(data_dir, max(1, rows // 10), seed=2)
        client.post(
            "/data/core/activation/disflowprovider/adhocrun",
            {"activationInfo": {"destinations": [{"flowId": flow_id, "datasets": [{"id": first}]}]}},
        )
        increment = _wait(client, flow_id, runs=2)
        manifests = [_manifest(client, run) for run in (full, increment)]
    zone = data_dir / "landing-zone" / "prod"
    _show_delivery(zone, manifests[0])
    _check_file(zone, manifests[1])
    _check(zone, manifests, [(rows, 1), (max(1, rows // 10), 2)])
    output.console.print(f"\nDone in {time.monotonic() - started:.1f} s. All files are in {data_dir}.", markup=False)


def _import(data_dir: Path, rows: int, seed: int) -> str:
    file = data_dir / f"events-{seed}.parquet"
    with pq.ParquetWriter(file, SAMPLE_SCHEMA, compression="zstd") as writer:
        for batch in customer_events(rows, seed=seed, start_ms=_START_MS):
            writer.write_batch(batch)
    with opened_or_made(settings_at(data_dir)) as backend:
        caller = access.operator_caller(backend.database)
        wanted = ImportRequest(_DATASET, (file,))
        done = file_import.import_files(backend.database, backend.lake, backend.parsers, caller, backend.clock, wanted)
    output.console.print(
        f"{output.count_of(done.batch.rows, 'row')} imported into {_DATASET} ({done.dataset.id})", markup=False
    )
    return done.dataset.id


def _tutorial(client: Client, dataset_id: str) -> str:
    _print("1. The connection specs")
    client.get(
        "/data/foundation/flowservice/connectionSpecs", summarise=lambda found: [one["name"] for one in found["items"]]
    )
    _print("2. The datasets that can be exported")
    client.get(
        f"/data/foundation/flowservice/connectionSpecs/{DATA_LAKE_ID}/configs"
        "?outputType=activationDatasets&outputField=datasets",
        summarise=lambda found: [(one["id"], one["name"]) for one in found["items"]],
    )
    _print("3. A source connection: the datasets to export")
    source = client.create(
        "sourceConnections",
        {
            "name": "Customer events from the lake",
            "connectionSpec": DATA_LAKE,
            "params": {"datasets": [{"dataSetId": dataset_id}]},
        },
    )
    _print("4. A base connection: the Data Landing Zone needs no credentials")
    spec = {"id": _ZONE_SPEC, "version": "1.0"}
    base = client.create("connections", {"name": "Landing zone", "connectionSpec": spec})
    _print("5. A target connection: folder and file format")
    params = {"mode": "Server-to-server", "path": "exports", "compression": "GZIP", "datasetFileType": "PARQUET"}
    target = client.create(
        "targetConnections",
        {"name": "Exports", "baseConnectionId": base, "connectionSpec": spec, "params": params},
    )
    _print("6. A flow: a full export first, then an incremental export every three hours")
    schedule = {
        "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
        "timeUnit": "hour",
        "interval": 3,
        "startTime": int(time.time()),
    }
    flow = client.create(
        "flows",
        {
            "name": "Customer events to the landing zone",
            "flowSpec": {"id": _ZONE_FLOW_SPEC, "version": "1.0"},
            "sourceConnectionIds": [source],
            "targetConnectionIds": [target],
            "transformations": [],
            "scheduleParams": schedule,
        },
    )
    _print("7. The stored flow")
    client.get(
        f"/data/foundation/flowservice/flows/{flow}", summarise=lambda found: found["items"][0]["scheduleParams"]
    )
    _print("8. Its first run")
    return flow


def _enable_manifests(client: Client, flow_id: str) -> None:
    _print("9. Enable manifest files in the target connection, for the next runs")
    flow = client.quiet(f"/data/foundation/flowservice/flows/{flow_id}")["items"][0]
    (target,) = flow["targetConnectionIds"]
    operation = {"op": "add", "path": "/params/includeFileManifest", "value": True}
    client.patch(f"/data/foundation/flowservice/targetConnections/{target}", [operation])


def _manifest(client: Client, run: Json) -> bytes:
    return client.read(f"/data/foundation/flowservice/runs/{run['id']}/manifest")


def _wait(client: Client, flow_id: str, runs: int) -> Json:
    path = f"/data/foundation/flowservice/runs?property=flowId=={flow_id}"
    for _ in range(1200):
        items = client.quiet(path)["items"]
        if len(items) == runs and "completedAtUTC" in items[0]["metrics"]["durationSummary"]:
            break
        time.sleep(0.1)
    else:
        raise OfftakeError("The run did not end within two minutes; see server.log in the demo's folder.")
    client.get(path, summarise=lambda found: _summarise(found["items"][0]))
    run: Json = items[0]
    if run["metrics"]["statusSummary"]["status"] != "success":
        raise OfftakeError(f"The run failed: {run['metrics']['statusSummary']['errors']}")
    return run


def _summarise(run: Json) -> Json:
    metrics = run["metrics"]
    took = metrics["durationSummary"]["completedAtUTC"] - metrics["durationSummary"]["startedAtUTC"]
    return {
        "status": metrics["statusSummary"]["status"],
        "rows": metrics["recordSummary"]["outputRecordCount"],
        "files": metrics["fileSummary"]["outputFileCount"],
        "bytes": metrics["sizeSummary"]["outputBytes"],
        "ms": took,
    }


@contextmanager
def _server(data_dir: Path, port: int) -> Iterator[Client]:
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    with (data_dir / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command
        try:
            _await_health(process, f"http://127.0.0.1:{port}")
            with Client(_admin(process, data_dir)) as client:
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def _admin(process: subprocess.Popen[bytes], data_dir: Path) -> Json:
    """The credentials that the demo's own server wrote; raises `OfftakeError` when it has ended."""
    file = data_dir / ADMIN_FILE
    if process.poll() is not None or not file.exists():
        raise OfftakeError(f"Another program answers instead of the demo's server; see server.log in {data_dir}.")
    found: Json = json.loads(file.read_text())
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _await_health(process: subprocess.Popen[bytes], origin: str) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            httpx2.get(f"{origin}/healthz").raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise OfftakeError("The demo's server did not start; see server.log in the demo's folder.")


def _show_delivery(zone: Path, full: bytes) -> None:
    _print("11. The delivered files")
    output.line(str(zone))
    for folder in sorted({path.parent for path in zone.rglob("*") if path.is_file()}):
        output.line(f"  {folder.relative_to(zone)}")
        for path in sorted(folder.iterdir()):
            output.line(f"    {path.name}  {output.size(path.stat().st_size)}")
    document = json.loads(full)
    output.console.print(f"\nThe full export, by offtake run manifest {document['flowRunId']}:", markup=False)
    output.as_json(document)


def _check_file(zone: Path, increment: bytes) -> None:
    """Check that there is one manifest file, the increment's, and that it equals the API's manifest."""
    (file,) = zone.rglob("manifest-*.json")
    if file.read_bytes() != increment:
        raise OfftakeError(f"{file} differs from the manifest in the API.")
    output.console.print(f"\nThe manifest file of the increment, written last: {file.name}", markup=False)


def _check(zone: Path, manifests: list[bytes], sources: list[tuple[int, int]]) -> None:
    """Check that the files in the manifests contain exactly the imported rows."""
    _print("12. Verification: the delivered rows equal the imported rows")
    for document, (rows, seed) in zip(manifests, sources, strict=True):
        manifest = json.loads(document)
        files = [_verify(zone, result) for result in manifest["exportResults"]]
        delivered = pa.concat_tables(pq.read_table(file) for file in files).cast(SAMPLE_SCHEMA).sort_by("_id")
        expected = pa.Table.from_batches(customer_events(rows, seed=seed, start_ms=_START_MS), SAMPLE_SCHEMA)
        if not delivered.equals(expected.sort_by("_id")):
            raise OfftakeError(f"The rows that run {manifest['flowRunId']} delivered differ from the imported ones.")
        kind = manifest["datasets"][0]["exportKind"]
        equal = output.count_of(delivered.num_rows, "row")
        hashes = output.count_of(len(files), "hash matches", "hashes match")
        output.console.print(f"✓ {kind}: {equal} equal, {hashes}", markup=False)


def _verify(zone: Path, result: dict[str, Any]) -> Path:
    path = zone.joinpath(result["sinkPath"].lstrip("/"), result["name"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.stat().st_size != result["size"] or digest != result["sha256"]:
        raise OfftakeError(f"The size or SHA-256 of {path} differs from its manifest.")
    return path


def _print(title: str) -> None:
    output.console.print(f"\n[bold]{title}[/bold]")
