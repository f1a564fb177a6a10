"""What uploading to object stores costs: ours against boto3, Azure's own SDK and rclone, at the same servers.

`python -m bench.stores [--mib 1024] [--rounds 3]` starts moto's S3 server and Azurite, sends the same file from
memory by each client in shuffled rounds, each in a process of its own, and prints medians. Client, server and the file
share this machine: MB/s mostly measure the server; compare the client's processor seconds and memory. Seconds and
processor seconds are of the upload alone, of rclone of its whole process; memory is all the
process has, interpreter included.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

if TYPE_CHECKING:
    from offtake.destinations.base import Destination
    from tests.azure_servers import AzureServer
    from tests.servers import Amazon

# Imports are where they are used: each client is to hold no more than it needs.
# ruff: noqa: PLC0415

PART_BYTES: Final = 8 * 1024 * 1024
MIB: Final = 1024 * 1024
BUCKET: Final = "bench"
NAME: Final = "out/sent.bin"


@dataclass(frozen=True)
class Result:
    """One upload: MB/s, processor seconds a GB, peak resident MB."""

    speed: float
    cpu: float
    peak: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.stores", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-client", nargs=3, metavar=("NAME", "SERVER", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_client:
        name, server, file = asked.as_client
        CLIENTS[name](json.loads(server), Path(file))
        return
    import trustme

    from tests.azure_servers import azurite
    from tests.servers import amazon

    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file = Path(folder, "file")
        with file.open("wb") as made:
            for _ in range(asked.mib):
                made.write(os.urandom(MIB))
        with amazon(Path(folder, "s3"), trustme.CA()) as s3:
            s3.client("s3").create_bucket(Bucket=BUCKET)
            compare(
                "Amazon S3 over TLS (moto)",
                ["boto3", "rclone to S3", "ours to S3"],
                s3_of(s3),
                file,
                asked.rounds,
            )
        with azurite() as azure:
            azure.make_container(BUCKET)
            compare(
                "Azure Blob Storage (Azurite)",
                ["azure-storage-blob", "rclone to Azure", "ours to Azure"],
                azure_of(azure),
                file,
                asked.rounds,
            )


def s3_of(server: "Amazon") -> dict[str, str]:
    """What its clients must know."""
    login = {"key": server.access_key, "secret": server.secret_key}
    return login | {"endpoint": server.endpoint, "certificates": server.ca_file or ""}


def azure_of(server: "AzureServer") -> dict[str, str]:
    """What its clients must know."""
    key = server.connection_string.partition("AccountKey=")[2].partition(";")[0]
    return {"endpoint": server.endpoint, "string": server.connection_string, "key": key}


def compare(title: str, names: list[str], server: dict[str, str], file: Path, rounds: int) -> None:
    """Every client in every round, in another order each time; the first named is what the others are held against."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in random.sample(names, len(names)):
            results[name].append(measured(name, server, file))
    base = statistics.median(one.cpu for one in results[names[0]])
    print(f"{title}: {file.stat().st_size // MIB} MiB, {rounds} rounds; median [lowest to highest]")
    print(f"{'client':<20}{'MB/s':>20}{'CPU s/GB':>10}{f'of {names[0]}':>22}{'peak RSS MB':>13}")
    for name in names:
        speeds = sorted(one.speed for one in results[name])
        cpu = statistics.median(one.cpu for one in results[name])
        shown = f"{statistics.median(speeds):.0f} [{speeds[0]:.0f} to {speeds[-1]:.0f}]"
        peak = max(one.peak for one in results[name])
        print(f"{name:<20}{shown:>20}{cpu:>10.2f}{cpu / base:>22.2f}{peak:>13.0f}", flush=True)


def measured(name: str, server: dict[str, str], file: Path) -> Result:
    """One client's upload, in a process of its own."""
    from bench.performance.processes import watched

    command = [sys.executable, "-m", "bench.stores", "--as-client", name, json.dumps(server), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, watched(process.pid) as highest:
        assert process.stdout is not None
        figures = process.stdout.read().split()
        assert process.wait() == 0, name
    seconds, cpu = (float(one) for one in figures)
    size = file.stat().st_size
    return Result(size / 1e6 / seconds, cpu / (size / 1e9), highest.rss / 1e6)


def chunks(file: Path) -> Iterator[bytes]:
    """The file in chunks of 1 MiB, as encoders give them."""
    with file.open("rb", buffering=0) as source:
        while chunk := source.read(MIB):
            yield chunk


def timed(upload: Callable[[], Any]) -> None:
    """Print the upload's seconds and processor seconds, those of children included."""
    started, before = time.monotonic(), psutil.Process().cpu_times()
    upload()
    took, after = time.monotonic() - started, psutil.Process().cpu_times()
    print(took, sum(after[:4]) - sum(before[:4]))


def ours(
    destination: "Destination", method: str, auth: dict[str, str], place: dict[str, str], file: Path, ca_file: str = ""
) -> None:
    """The destination's sink, from an iterator."""
    from offtake.destinations import schema
    from offtake.destinations.base import SandboxLocation
    from offtake.destinations.landing_zone.folder import FolderZones
    from offtake.network.egress import Network

    credentials = schema.parse_credentials(destination, method, auth)
    location = {"datasetFileType": "JSON", "compression": "GZIP", "path": "out", **place}
    params = schema.parse_target_params(destination, location)
    certificates = Path(ca_file).read_bytes() if ca_file else None
    sandbox_location = SandboxLocation("bench", FolderZones(file.parent), network=Network(certificates=certificates))
    sink = destination.open(credentials, params, sandbox_location)
    timed(lambda: sink.put(NAME, chunks(file)))


def ours_to_s3(server: dict[str, str], file: Path) -> None:
    """Offtake's."""
    from offtake.destinations import amazon_s3

    auth = {"s3AccessKey": server["key"], "s3SecretKey": server["secret"], "endpointUrl": server["endpoint"]}
    ours(amazon_s3.DESTINATION, "Access Key", auth, {"bucketName": BUCKET}, file, server["certificates"])


def ours_to_azure(server: dict[str, str], file: Path) -> None:
    """Offtake's."""
    from offtake.destinations import azure_blob_storage

    auth = {"connectionString": server["string"]}
    ours(azure_blob_storage.DESTINATION, "ConnectionString", auth, {"container": BUCKET}, file)


def with_boto3(server: dict[str, str], file: Path) -> None:
    """Amazon's SDK with the same size and number of parts."""
    import boto3
    from boto3.s3.transfer import TransferConfig

    client = boto3.client(
        "s3",
        endpoint_url=server["endpoint"],
        aws_access_key_id=server["key"],
        aws_secret_access_key=server["secret"],
        region_name="us-east-1",
        verify=server["certificates"],
    )
    same = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
    with file.open("rb") as source:
        timed(lambda: client.upload_fileobj(source, BUCKET, NAME, Config=same))


def with_azures_sdk(server: dict[str, str], file: Path) -> None:
    """Azure's SDK with the same size and number of blocks."""
    from azure.storage.blob import BlobClient

    client = BlobClient(
        server["endpoint"],
        BUCKET,
        NAME,
        credential=server["key"],
        max_block_size=PART_BYTES,
        max_single_put_size=PART_BYTES,
    )
    with file.open("rb") as source:
        timed(lambda: client.upload_blob(source, overwrite=True, max_concurrency=4))


def with_rclone(remote: str, options: list[str], file: Path) -> None:
    """rclone, from the file, with the same size and number of parts."""
    program = str(Path(sys.executable).with_name("rclone"))
    command = [program, "copyto", str(file), f"{remote}:{BUCKET}/{NAME}", "--ignore-times", *options]
    timed(lambda: subprocess.run(command, check=True, env=os.environ | {"RCLONE_CONFIG": "/dev/null"}))


def rclone_to_s3(server: dict[str, str], file: Path) -> None:
    """The command-line tool."""
    login = ["--s3-endpoint", server["endpoint"], "--s3-access-key-id", server["key"]]
    secret = [
        "--s3-secret-access-key",
        server["secret"],
        "--s3-provider",
        "Other",
        "--ca-cert",
        server["certificates"],
    ]
    with_rclone(":s3", [*login, *secret, "--s3-chunk-size", "8M", "--s3-upload-cutoff", "8M"], file)


def rclone_to_azure(server: dict[str, str], file: Path) -> None:
    """The command-line tool."""
    options = ["--azureblob-connection-string", server["string"] + ";DefaultEndpointsProtocol=http"]
    with_rclone(":azureblob", [*options, "--azureblob-chunk-size", "8M", "--azureblob-upload-concurrency", "4"], file)


CLIENTS: Final[dict[str, Callable[[dict[str, str], Path], None]]] = {
    "ours to S3": ours_to_s3,
    "boto3": with_boto3,
    "rclone to S3": rclone_to_s3,
    "ours to Azure": ours_to_azure,
    "azure-storage-blob": with_azures_sdk,
    "rclone to Azure": rclone_to_azure,
}

if __name__ == "__main__":
    main()
