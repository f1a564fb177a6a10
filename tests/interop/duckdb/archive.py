"""Runs DuckDB against Iceberg's REST reference server, and packs each table with what DuckDB read into an archive.

Usage: python -m tests.interop.duckdb.archive PYTHON_WITH_DUCKDB
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx2

from tests.interop.reference_server import reference_server
from tests.interop.spark.archive import pack
from tests.interop.spark_tables import BUCKET
from tests.servers import amazon


def main() -> None:
    (python,) = sys.argv[1:]
    with amazon() as store, tempfile.TemporaryDirectory() as folder:
        store.client("s3").create_bucket(Bucket=BUCKET)
        with reference_server(store, BUCKET) as catalog:
            arguments = [catalog, store.endpoint, store.access_key, store.secret_key, folder]
            subprocess.run([python, "-m", "tests.interop.duckdb.make_tables", *arguments], check=True)
            for described in Path(folder).glob("*.json"):
                answer = httpx2.get(f"{catalog}/v1/namespaces/duckdb/tables/{described.stem}").json()
                found = json.loads(described.read_text(encoding="utf-8")) | {"metadata": answer["metadata-location"]}
                described.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
                pack(store, described)


if __name__ == "__main__":
    main()
