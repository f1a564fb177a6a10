"""Iceberg's REST reference server, from the test fixtures of `iceberg-open-api`: a catalog in SQLite, files in S3."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import Amazon, await_port, free_port

LAUNCHER = Path(__file__).parent / "rest_server" / "Loopback.java"
JARS = Path(__file__).parents[2] / ".interop" / "rest-server"


@contextmanager
def reference_server(store: Amazon, bucket: str, *, lends: bool = False) -> Iterator[str]:
    """The server on a port of its own; its URI. `lends`: it gives each client the credentials of the store."""
    assert JARS.is_dir(), "the server's libraries are missing; run: make interop"
    port = free_port()
    settings = {
        "CATALOG_WAREHOUSE": f"s3://{bucket}",
        "CATALOG_IO__IMPL": "org.apache.iceberg.aws.s3.S3FileIO",
        "CATALOG_S3_ENDPOINT": store.endpoint,
        "CATALOG_S3_PATH__STYLE__ACCESS": "true",
        "CATALOG_S3_ACCESS__KEY__ID": store.access_key,
        "CATALOG_S3_SECRET__ACCESS__KEY": store.secret_key,
        "CATALOG_CLIENT_REGION": "us-east-1",
        "CATALOG_INCLUDE__CREDENTIALS": str(lends).lower(),
    }
    # Memory and compilation as for a process that lives for seconds.
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{JARS}/*"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*java, str(LAUNCHER), str(port)], env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            await_port(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(20)
            log.seek(max(0, log.tell() - 20_000))
            print(log.read().decode(errors="replace"))  # pytest shows it with a failure
