"""Runs Spark against an S3 server of its own, and packs each table with what Spark read into an archive.

Usage: python -m tests.interop.spark.archive PYTHON_WITH_PYSPARK JARS_FOLDER [CASE ...]
"""

import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.interop.spark_tables import ARCHIVES, BUCKET
from tests.servers import Amazon, amazon


def main() -> None:
    python, jars, *cases = sys.argv[1:]
    with amazon() as store, tempfile.TemporaryDirectory() as folder:
        store.client("s3").create_bucket(Bucket=BUCKET)
        keys = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
        listed = map(str, Path(jars).glob("*.jar"))
        command = [python, "-m", "tests.interop.spark.make_tables", store.endpoint, folder, *listed, "--only", *cases]
        done = subprocess.run(command, env={**os.environ, **keys, "TZ": "UTC"}, check=False)
        for described in Path(folder).glob("*.json"):
            pack(store, described)
    sys.exit(done.returncode)


def pack(store: Amazon, described: Path) -> None:
    """Write the archive of one table: the files that its last metadata can reach, and what Spark read."""
    expected = json.loads(described.read_text(encoding="utf-8"))
    keep = expected["metadata"].removeprefix(f"s3://{BUCKET}/")
    ARCHIVES.mkdir(exist_ok=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        put(archive, "expected.json", described.read_bytes())
        for key in keys_of(store, keep.rpartition("metadata/")[0]):
            if ".metadata.json" not in key or key == keep:
                put(archive, key, store.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())
    packed = lzma.compress(content.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    (ARCHIVES / f"{described.stem}.tar.xz").write_bytes(packed)


def keys_of(store: Amazon, prefix: str) -> list[str]:
    pages: Any = store.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [one["Key"] for page in pages for one in page.get("Contents", ())]


def put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
